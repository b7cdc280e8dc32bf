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
from lib.results.typesetting import TEMPLATES

WIDTH = 1200  # of a figure in pixels: sharp on a phone, and a tenth of the PNG
QUALITY = 60  # of WebP


def page(models: Path, out: Path, tables: str, runs: pd.DataFrame) -> str:
    """The page, as HTML.

    models : folder of models/ and models_trans/; out : folder of table.png, study.md and study.png,
    none of which has to be there; tables : as Markdown; runs : as of lib.results.provenance
    """
    study = out / "study.md"
    to_html = MarkdownIt("js-default").render
    return TEMPLATES.get_template("report.html").render(
        image=image,
        out=out,
        tables=to_html(tables.removeprefix("# Results")),
        study=to_html(study.read_text(encoding="utf-8")) if study.is_file() else "",
        transfers=list(_transfers(models, runs["run"])),
        pretrainings=list(_pretrainings(models)),
    )


def _transfers(models: Path, runs: pd.Series) -> Iterator[dict]:
    for where in runs:
        path = models / "models_trans" / where
        name = RunName.parse(path)
        parts = (named(key_of(name)), name.folds, f"iteration {name.iteration}")
        text = ", ".join(filter(None, parts))
        yield {"title": text, "summary": macro_f1(path), "path": path}


def macro_f1(run: Path) -> str:
    """Macro F1 per clip as its metrics.json has it, or why that cannot be read."""
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
    """An <img> that carries its picture, no wider than WIDTH; "" where there is no file."""
    if not path.is_file():
        return ""
    try:
        with Image.open(path) as picture:
            small, buffer = picture.convert("RGB"), io.BytesIO()
    except OSError as error:  # cut off, say: all else can still be shown
        return f"<p>{html.escape(f'{path} cannot be read: {error}')}</p>"
    small.thumbnail((WIDTH, 10 * WIDTH))
    small.save(buffer, "WEBP", quality=QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{small.width}" height="{small.height}"'
    return f'<img src="data:image/webp;base64,{data}" alt="{html.escape(alt)}" {size}>'
