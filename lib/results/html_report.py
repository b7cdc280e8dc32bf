"""report.html: the tables, the figures and every run on one page that needs no other file."""

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
from lib.results.finished_runs import key_of, named

WIDTH = 1200  # of a figure in pixels: sharp on a phone, and a tenth of the PNG
QUALITY = 60  # of WebP

_STYLE = """\
:root { color-scheme: light; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 75rem; margin: auto; padding: 0 1rem 3rem; }
nav a { margin-right: 1rem; }
img { max-width: 100%; height: auto; display: block; margin: 1rem 0; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .8rem; white-space: nowrap; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #ddd; }
details { border-bottom: 1px solid #ddd; padding: .6rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
code { overflow-wrap: anywhere; }
"""
_ABOUT_RUNS = """\
Macro F1 of the test clips. Opened: loss and balanced accuracy of the quadrants over epochs (of a
cross-validation, of each fold), and the confusion matrices."""


def page(models: Path, out: Path, tables: str, runs: pd.DataFrame) -> str:
    """The page, as HTML.

    Parameters
    ----------
    models : below it lie models/ and models_trans/
    out : folder with table.png, and study.md and study.png where there is a study
    tables : the tables of results as Markdown
    runs : the runs behind them, as of lib.results.provenance; "run" is read
    """
    study = out / "study.md"
    head, figure = _html(tables), _image(out / "table.png", "macro F1")
    sections = {"tables": ("Tables", [head.replace("</h1>", f"</h1>\n{figure}", 1)])}
    if study.is_file():
        parts = [_image(out / "study.png", "macro F1 by number of labelled clips")]
        sections["study"] = ("Study", [*parts, _html(study.read_text(encoding="utf-8"))])
    sections["runs"] = ("Runs", list(_transfers(models, runs["run"])))
    sections["pretraining"] = ("Pretraining", list(_pretrainings(models)))
    sections = {name: (title, parts) for name, (title, parts) in sections.items() if any(parts)}
    links = " ".join(f'<a href="#{name}">{title}</a>' for name, (title, _) in sections.items())
    body = "\n".join(
        f'<section id="{name}">\n' + "\n".join(filter(None, parts)) + "\n</section>"
        for name, (_, parts) in sections.items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Music emotion recognition: results</title>\n<style>\n{_STYLE}</style>\n</head>\n"
        f"<body>\n<nav>{links}</nav>\n{body}\n</body>\n</html>\n"
    )


def _transfers(models: Path, runs: pd.Series) -> Iterator[str]:
    yield f"<h2>Runs ({len(runs)})</h2>\n{_html(_ABOUT_RUNS)}"
    for where in runs:
        run = models / "models_trans" / where
        name = RunName.parse(run)
        about = ", ".join(filter(None, (name.folds, f"iteration {name.iteration}")))
        title = f"{named(key_of(name))}, {about}"
        yield _run(title, _f1(run), run, ("curves.png", "confusion.png"))


def _f1(run: Path) -> str:
    """Macro F1 per clip as its metrics.json has it."""
    try:
        advice = "train that run again with --overwrite"
        clip = (files.read_json(run / "metrics.json", advice) or {}).get("clip", {})
    except UserError as error:
        return str(error)
    return ", ".join(f"{t} {clip[t]['macro_f1']:.2f}" for t in TASKS if t in clip)


def _pretrainings(models: Path) -> Iterator[str]:
    runs = [run for run in pretrainings(models) if (run / "run.json").is_file()]
    if runs:
        yield f"<h2>Pretraining ({len(runs)})</h2>"
    for run in runs:
        name = RunName.parse(run)
        kind = "speech" if name.speech else "music"
        language = LANGUAGES[name.speech or name.music]
        yield _run(f"{title(name.model)} {kind} {language}", run.name, run, ("curves.png",))


def _run(title: str, about: str, run: Path, figures: tuple[str, ...]) -> str:
    """What is seen of a run when it is opened; none of its figures has to be there."""
    shown = [_image(run / name, f"{name.removesuffix('.png')}: {title}") for name in figures]
    inside = "\n".join(filter(None, shown)) or "<p>no figures</p>"
    head = f"<strong>{html.escape(title)}</strong> {html.escape(about)}"
    where = f"<code>{html.escape(str(run))}</code>"
    return f"<details><summary>{head}</summary>\n<p>{where}</p>\n{inside}\n</details>"


def _image(path: Path, alt: str) -> str:
    """An <img> that carries its picture, no wider than WIDTH; "" where there is no file."""
    if not path.is_file():
        return ""
    try:
        with Image.open(path) as image:
            small, buffer = image.convert("RGB"), io.BytesIO()
    except OSError as error:  # cut off, say: all else can still be shown
        return f"<p>{html.escape(str(path))} cannot be read: {html.escape(str(error))}</p>"
    small.thumbnail((WIDTH, 10 * WIDTH))
    small.save(buffer, "WEBP", quality=QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{small.width}" height="{small.height}"'
    return f'<img src="data:image/webp;base64,{data}" alt="{html.escape(alt)}" {size}>'


def _html(markdown: str) -> str:
    text = MarkdownIt("js-default").render(markdown)
    text = text.replace("<table>", '<div class="wide"><table>')
    return text.replace("</table>", "</table></div>")
