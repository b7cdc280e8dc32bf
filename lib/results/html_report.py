"""report.html: the findings, the figure, the tables and every run, on one page that needs no
other file. Its text is in templates/report.html, its style in templates/report.css."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from markdown_it import MarkdownIt
from PIL import Image

from lib.artefacts import files
from lib.artefacts.run_name import RunName, pretrainings
from lib.errors import UserError
from lib.labels import LANGUAGES, TASKS
from lib.models.catalogue import title
from lib.results.findings import clips_and_runs, findings
from lib.results.finished_runs import key_of, named
from lib.results.main_table import main_table
from lib.results.table2 import Results
from lib.results.typesetting import TEMPLATES

WIDTH = 1200  # pixels of a figure: sharp on a phone, and a tenth of the size of the PNG
QUALITY = 60  # of WebP
LEAST = 0.48  # CSS pixels per pixel of a figure: its text, 10 points at 150 dpi, has 10 pixels
BOX = '<div class="box" tabindex="0" role="group" aria-label="{}">'  # scrolls wide content


def page(models: Path, out: Path, results: Results, tables: str) -> str:
    """The page, as HTML.

    models : folder of models/ and models_trans/; out : folder of table.png, study.md and study.png,
    each of which may be missing; tables : text of table.md, whose sections the page unfolds
    """
    study = out / "study.md"
    return TEMPLATES.get_template("report.html").render(
        results=results,
        tested=clips_and_runs(results.tested),
        findings=findings(results),
        table=main_table(results.cells),
        box=BOX.format,
        image=image,
        out=out,
        sections=[(head, text) for head, text in _sections(tables) if head],
        study=_sections(study.read_text(encoding="utf-8")) if study.is_file() else [],
        transfers=list(_transfers(models, results.runs["run"])),
        pretrainings=list(_pretrainings(models)),
    )


def _sections(text: str) -> list[tuple[str, str]]:
    """(heading, HTML) of each section of a Markdown text; "" heads the text above the first.

    A table is in a box that scrolls, named by the heading.
    """
    markdown, sections = MarkdownIt("js-default"), [("", [])]
    tokens = iter(markdown.parse(text))
    for token in tokens:
        if token.type == "heading_open" and token.tag == "h2":
            sections.append((next(tokens).content, []))
            next(tokens)  # its end
        else:
            sections[-1][1].append(token)
    pages = []
    for head, parts in sections:
        content = markdown.renderer.render(parts, markdown.options, {})
        box = BOX.format(html.escape(head or "table"))
        content = content.replace("<table>", f"{box}<table>").replace("</table>", "</table></div>")
        pages.append((head, content))
    return pages


def _transfers(models: Path, runs: pd.Series) -> Iterator[dict]:
    for where in runs:
        path = models / "models_trans" / where
        name = RunName.parse(path)
        parts = (named(key_of(name)), name.folds, f"iteration {name.iteration}")
        text = ", ".join(filter(None, parts))
        yield {"title": text, "summary": macro_f1(path), "path": path}


def macro_f1(run: Path) -> str:
    """Macro F1 per clip from its metrics.json, or why that file cannot be read."""
    try:
        advice = "train that run again with --overwrite"
        clip = (files.read_json(run / "metrics.json", advice) or {}).get("clip", {})
    except UserError as error:
        return str(error)
    return ", ".join(f"{task} {clip[task]['macro_f1']:.2f}" for task in TASKS if task in clip)


def _pretrainings(models: Path) -> Iterator[dict]:
    for path in pretrainings(models):
        if (path / "run.json").is_file():
            name = RunName.parse(path)
            kind = "speech" if name.speech else "music"
            text = f"{title(name.model)} {kind} {LANGUAGES[name.speech or name.music]}"
            yield {"title": text, "summary": path.name, "path": path}


def image(path: Path, alt: str) -> str:
    """An <img> with the picture inside, at most WIDTH wide, in a box that scrolls where the
    screen is too narrow to read it; "" where there is no file."""
    if not path.is_file():
        return ""
    try:
        with Image.open(path) as picture:
            small, buffer = picture.convert("RGB"), io.BytesIO()
    except OSError as error:  # e.g. cut off: the rest of the page is still useful
        return f"<p>{html.escape(f'{path} cannot be read: {error}')}</p>"
    least = round(LEAST * small.width)
    small.thumbnail((WIDTH, 10 * WIDTH))
    small.save(buffer, "WEBP", quality=QUALITY)
    data, alt = base64.b64encode(buffer.getvalue()).decode(), html.escape(alt)
    size = f'width="{small.width}" height="{small.height}"'
    size += f' style="min-width: {min(least, small.width)}px"'
    figure = f'<img src="data:image/webp;base64,{data}" alt="{alt}" {size}>'
    return f"{BOX.format(alt).replace('box', 'box figure')}{figure}</div>"
