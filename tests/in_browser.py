"""A page of ours as a browser shows it on a telephone, with its script running."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at the page with")

# Headless Chromium makes no window narrower than 500 pixels, so each page stands in a frame.
FRAME = '<iframe src="{name}" style="width:390px;height:4000px;border:0"></iframe>'
OUTER = """<!doctype html>{frames}<pre id="told"></pre><script>
const told = {{}};
addEventListener("message", (event) => {{
  Object.assign(told, event.data);
  document.getElementById("told").textContent = JSON.stringify(told);
}});
</script>"""
EARS = "<script>const wrong = []; addEventListener('error', (event) => wrong.push(event.message));</script>"
PROBE = """<script>addEventListener("load", () => {{
  const more = {more};
  parent.postMessage({{[{name}]: {{
    content: document.documentElement.scrollWidth, wrong,
    copy: document.getElementById("copy").hidden, ...more,
  }}}}, "*");
}});</script>"""


def look(folder: Path, pages: dict[str, str], more: str = "{}") -> dict[str, dict[str, Any]]:
    """By page: how wide its content is, what went wrong, whether the copy button is hidden, and `more`."""
    folder.mkdir()
    for name, page in pages.items():
        probe = PROBE.format(name=json.dumps(name), more=more)
        heard = page.replace("<head>", "<head>" + EARS, 1).replace("</body>", probe + "</body>", 1)
        (folder / f"{name}.html").write_text(heard, encoding="utf-8")
    frames = "".join(FRAME.format(name=f"{name}.html") for name in pages)
    (folder / "outer.html").write_text(OUTER.format(frames=frames), encoding="utf-8")
    asked = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    asked += ["--disable-background-networking", "--disable-component-update", "--disable-quic"]
    asked += [f"--user-data-dir={folder / 'profile'}", "--window-size=1400,4200"]
    asked += ["--virtual-time-budget=5000", "--dump-dom", (folder / "outer.html").as_uri()]
    shown = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<pre id="told">(.+?)</pre>', shown, re.DOTALL)
    assert found, "no page answered"
    seen: dict[str, dict[str, Any]] = json.loads(unescape(found[1]))
    assert set(seen) == set(pages), "not every page answered"
    return seen
