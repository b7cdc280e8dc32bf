"""The page of results, opened in a browser."""

import base64
import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image

import results_table
from lib.results import html_report

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
# no window, no calls home
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
FLAGS += "--disable-background-networking --disable-component-update --dump-dom"
RUN = "speech_none_2_music_eng/model_cnn.it_0"
PROBE = """
<script>
onload = () => {
  for (const run of document.querySelectorAll("details")) run.open = true;
  document.body.style.width = "360px";  // a phone
  const seen = [...document.images].map((i) => [i.alt, i.complete, i.naturalWidth, i.width]);
  const wide = document.documentElement.scrollWidth > innerWidth;
  const right = (e) => e.getBoundingClientRect().right;
  const parts = [...document.body.querySelectorAll("p, h1, h2, summary, img, table")];
  const beyond = parts.filter((e) => right(e) > right(document.body)).length;
  const links = [...document.querySelectorAll("nav a")];
  const lead = links.map((a) => !!document.querySelector(a.hash));
  const told = { seen, wide, beyond, lead, cells: document.querySelectorAll("td").length };
  document.title = JSON.stringify(told);
};
</script>
"""


@pytest.fixture(scope="module")
def page(pipeline, tmp_path_factory):
    """report.html of the pipeline's runs and of a study."""
    out = tmp_path_factory.mktemp("results")
    shutil.copy(ROOT / "docs" / "figures" / "study.png", out)
    (out / "study.md").write_text("| encoder | F1 |\n|---|---|\n| <b>odd</b> | 0.5 |\n")
    assert results_table.main(["--out", str(out)]) == 0
    return out / "report.html"


def test_every_run_has_its_curves_and_confusions(page, pipeline):
    text = page.read_text(encoding="utf-8")
    finished = list(pipeline.models.glob("models_trans/*/*/run.json"))
    assert len(finished) == 5  # SCAE and CPC frozen and released, and the CNN
    for what, count in (("curves", 5 + 2), ("confusion", 5), ("macro F1", 2)):
        assert len(re.findall(f'alt="{what}', text)) == count, what
    metrics = json.loads((finished[0].parent / "metrics.json").read_text())
    f1 = metrics["clip"]["quadrants"]["macro_f1"]
    own = text.split(html.escape(str(finished[0].parent)))[0].rsplit("<summary>", 1)[1]
    assert f"quadrants {f1:.2f}, arousal " in own and "eng, iteration 0" in own
    assert "&lt;b&gt;odd" in text and "<b>odd" not in text
    assert not re.search(r'(src|href)="(?!data:image/webp|#)', text)  # needs no other file


def test_a_browser_loads_every_figure_and_nothing_is_cut_off_on_a_phone(page, tmp_path):
    if BROWSER is None:
        pytest.skip("no Chromium to open results/report.html with: apt-get install chromium")
    (tmp_path / "page.html").write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    line = [BROWSER, *FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"]
    line += ["--window-size=500,900", f"file://{tmp_path / 'page.html'}"]
    found = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True).stdout
    title = re.search("<title>(.*?)</title>", found, re.DOTALL).group(1)
    told = json.loads(html.unescape(title))
    assert len(told["seen"]) == 5 + 2 + 5 + 2
    for alt, complete, width, shown in told["seen"]:
        assert alt and complete and width > 300 and 0 < shown <= 360, alt
    assert not told["wide"] and told["beyond"] == 0
    assert told["lead"] == [True] * 4 and told["cells"] > 100


def test_a_figure_is_made_small_and_a_missing_one_is_left_out(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (900, 2400, 4), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    tag = html_report.image(tmp_path / "a.png", 'a "b"')
    assert 'width="1200" height="450"' in tag and "a &quot;b&quot;" in tag
    data = base64.b64decode(re.search('base64,(.*?)"', tag).group(1))
    assert Image.open(io.BytesIO(data)).size == (1200, 450)
    assert html_report.image(tmp_path / "b.png", "b") == ""
    page = html_report.page(tmp_path, tmp_path, "# Results", pd.DataFrame({"run": [RUN]}))
    assert page.count("no figures") == 1 and "<img" not in page


def test_a_damaged_figure_or_measure_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    assert "a.png cannot be read" in html_report.image(tmp_path / "a.png", "a")
    (tmp_path / "metrics.json").write_text('{"clip": ')
    assert "metrics.json" in html_report.macro_f1(tmp_path)
