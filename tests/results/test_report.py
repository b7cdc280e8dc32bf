"""The page of results, opened in a browser."""

import base64
import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from test_tables import run

import results_table
from lib.results import html_report
from lib.results.table2 import gather

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
# no window, no calls home
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
FLAGS += "--disable-background-networking --disable-component-update --dump-dom"
PROBE = """
<script>
onload = () => {
  const all = (selector) => [...document.body.querySelectorAll(selector)];
  const closed = all("main > section > details").filter((e) => !e.open).length;
  for (const part of all("details")) part.open = true;
  document.body.style.width = "WIDTHpx";
  const seen = all("img").map((i) => [i.alt, i.complete, i.naturalWidth, i.width]);
  const wide = document.documentElement.scrollWidth > innerWidth;
  const right = (e) => e.getBoundingClientRect().right;
  const cut = (e) => right(e) > right(document.body);
  const beyond = all("p, li, h1, h2, h3, summary, .box").filter(cut);
  const unboxed = all("img, table").filter((e) => !e.closest(".box"));
  const lines = (e) => Math.round(e.offsetHeight / parseFloat(getComputedStyle(e).lineHeight));
  const longest = Math.max(...all("p, li").map((e) => e.textContent.trim().length / lines(e)));
  const levels = all("h1, h2, h3").map((e) => +e.tagName[1]);
  const color = (e) => getComputedStyle(e).backgroundColor;
  const colors = [color(document.body), color(document.querySelector(".figure"))];
  document.title = JSON.stringify({
    seen, wide, beyond: beyond.length, unboxed: unboxed.length, longest, levels, colors, closed,
    lines: document.body.innerText.split("\\n"), cells: all("td").length,
  });
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
    # of the two pretraining runs, that of CPC was made without figures
    for what, count in (("curves", 5 + 1), ("confusion", 5), ("macro F1", 2)):
        assert len(re.findall(f'<img[^>]* alt="{what}', text)) == count, what
    metrics = json.loads((finished[0].parent / "metrics.json").read_text())
    f1 = metrics["clip"]["quadrants"]["macro_f1"]
    own = text.split(html.escape(str(finished[0].parent)))[0].rsplit("<summary>", 1)[1]
    assert f"quadrants {f1:.2f}, arousal " in own and "eng, iteration 0" in own
    assert "&lt;b&gt;odd" in text and "<b>odd" not in text
    assert not re.search(r'(src|href)="(?!data:image/webp|#)', text)  # needs no other file


def opened(page, folder, width, *flags):
    """What a browser says of a page that is `width` pixels wide, all parts unfolded."""
    if BROWSER is None:
        pytest.skip("no Chromium to open results/report.html with: apt-get install chromium")
    probe = PROBE.replace("WIDTH", str(width))
    (folder / "page.html").write_text(page.read_text().replace("</body>", f"{probe}</body>"))
    line = [BROWSER, *FLAGS.split(), f"--user-data-dir={folder / 'profile'}", *flags]
    # a window is no narrower than 500
    line += [f"--window-size={max(500, width)},900", f"file://{folder / 'page.html'}"]
    found = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True).stdout
    title = re.search("<title>(.*?)</title>", found, re.DOTALL).group(1)
    return json.loads(html.unescape(title))


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_loads_every_figure_and_nothing_is_cut_off(page, tmp_path, width):
    told = opened(page, tmp_path, width)
    assert len(told["seen"]) == 5 + 1 + 5 + 2
    for alt, complete, natural, shown in told["seen"]:
        assert alt and complete and natural > 300 and 300 < shown <= natural, alt
    assert not told["wide"] and told["beyond"] == told["unboxed"] == 0
    assert told["longest"] <= 80 and told["cells"] > 100
    levels = told["levels"]
    assert levels[0] == 1 and levels.count(1) == 1 and max(np.diff(levels)) == 1
    assert told["closed"] == levels.count(3)  # all but findings, figure and table
    assert told["lines"][0].startswith("This page is from synthetic sound: ")


@pytest.mark.browser
def test_in_a_dark_browser_the_page_is_dark_and_figures_stand_on_white(page, tmp_path):
    dark = opened(page, tmp_path, 1200, "--blink-settings=preferredColorScheme=0")["colors"]
    light = opened(page, tmp_path, 1200)["colors"]
    assert light == ["rgb(255, 255, 255)"] * 2
    assert dark == ["rgb(20, 23, 27)", "rgb(255, 255, 255)"]


def test_a_figure_is_made_small_and_a_missing_one_is_left_out(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (900, 2400, 4), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    tag = html_report.image(tmp_path / "a.png", 'a "b"')
    assert 'width="1200" height="450"' in tag and "a &quot;b&quot;" in tag
    data = base64.b64decode(re.search('base64,(.*?)"', tag).group(1))
    assert Image.open(io.BytesIO(data)).size == (1200, 450)
    assert html_report.image(tmp_path / "b.png", "b") == ""
    run(tmp_path, "speech_none_2_music_eng", "model_cnn.it_0", 0.5)
    page = html_report.page(tmp_path, tmp_path, gather(tmp_path), "# Results")
    assert page.count("no figures") == 1 and "<img" not in page


def test_a_damaged_figure_or_measure_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    assert "a.png cannot be read" in html_report.image(tmp_path / "a.png", "a")
    (tmp_path / "metrics.json").write_text('{"clip": ')
    assert "metrics.json" in html_report.macro_f1(tmp_path)
