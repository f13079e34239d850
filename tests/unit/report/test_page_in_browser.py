"""The report as a browser shows it: at phone width, with its script running."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from handlens.report.html import write_report
from handlens.run import RunFolder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at the page with")

# Headless Chromium makes no window narrower than 500 pixels, so the page stands in a frame.
OUTER = """<!doctype html><iframe src="inner.html" style="width:{width}px;height:4000px;border:0"></iframe>
<pre id="told"></pre><script>
addEventListener("message", (event) => {{ document.getElementById("told").textContent = event.data; }});
</script>"""
EARS = "<script>const wrong = []; addEventListener('error', (event) => wrong.push(event.message));</script>"
PROBE = """<script>
addEventListener("load", () => {
  const rows = () => [...document.querySelectorAll(".perclass tbody tr")];
  const numbers = () => rows().map((row) => +row.cells[3].dataset.sort);
  const head = document.querySelectorAll(".perclass th")[3];
  head.querySelector("button").click();
  const up = [numbers(), head.ariaSort];
  head.querySelector("button").click();
  const down = [numbers(), head.ariaSort];
  parent.postMessage(JSON.stringify({
    width: document.documentElement.clientWidth, content: document.documentElement.scrollWidth,
    wrong, rows: rows().length, up, down, dark: matchMedia("(prefers-color-scheme: dark)").matches,
    copy: document.getElementById("copy").hidden,
    broken: [...document.images].filter((image) => !image.naturalWidth).length,
  }), "*");
});
</script>"""


def look(run: RunFolder, folder: Path, width: int, scheme: int) -> dict[str, Any]:
    page = write_report(run).read_text(encoding="utf-8")
    page = page.replace("<head>", "<head>" + EARS, 1).replace("</body>", PROBE + "</body>", 1)
    (folder / "inner.html").write_text(page, encoding="utf-8")
    outer = folder / "outer.html"
    outer.write_text(OUTER.format(width=width), encoding="utf-8")
    asked = [
        str(CHROMIUM),
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *(
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ),
        *(f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={scheme}"),
        *("--window-size=1400,4200", "--virtual-time-budget=5000", "--dump-dom", outer.as_uri()),
    ]
    shown = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=True).stdout
    told = re.search(r'<pre id="told">(.+?)</pre>', shown, re.DOTALL)
    assert told, "the page did not answer"
    answer: dict[str, Any] = json.loads(unescape(told[1]))
    return answer


@pytest.mark.parametrize(("width", "scheme", "num_classes"), [(390, 0, 40), (390, 1, 3), (1280, 1, 40)])
def test_the_page_fits_sorts_and_has_no_errors(
    make_run: Callable[..., RunFolder], tmp_path: Path, width: int, scheme: int, num_classes: int
) -> None:
    classes = tuple(
        f"矿石 {number:02d} 来自第三采区的样品" + "x" * 60 * (number == 1) for number in range(num_classes)
    )
    seen = look(make_run(classes, num=360), tmp_path, width, scheme)
    assert seen["width"] == width
    assert seen["content"] <= width
    assert seen["wrong"] == []
    assert seen["broken"] == 0
    assert seen["dark"] == (scheme == 0)
    assert seen["copy"] is False
    assert seen["up"] == [sorted(seen["up"][0]), "ascending"]
    assert seen["down"] == [sorted(seen["up"][0], reverse=True), "descending"]
    assert seen["rows"] == num_classes
