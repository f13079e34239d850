"""The contact sheet: every frame with its figures and reason, safe to open, and a command that works."""

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from handlens.data.footage import Row, Video
from handlens.data.frames import Cut
from handlens.data.samples import Samples
from handlens.report import contact_sheet
from handlens.report.contact_sheet import clock, figures, headline, sentences, verdict, write_contact_sheet

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = '<script>alert(1)</script> it\'s "$x" 泡沫'


COMMAND = ["handlens", "frames", "ore", "--out", "out"]


def row(id_: str, time_s: float = 0.0, reason: str | None = None, **figures: float | bool | None) -> Row:
    values = {
        "sharpness": 57.5,
        "relative_sharpness": 0.67,
        "dark": 0.0,
        "bright": 0.002,
        "likeness": 0.2,
        "kept": reason is None,
    }
    return Row.model_validate(
        {"id": id_, "number": 0, "time_s": time_s, "reason": reason, **values, **figures}
    )


def video(name: str, *rows: Row, problems: tuple[str, ...] = ()) -> Video:
    return Video(
        name=name,
        label=name.split("/", maxsplit=1)[0],
        source=f"{name}.mp4",
        made="0",
        codec="h264",
        width=1920,
        height=1080,
        length_s=62.5,
        num_frames=1875,
        by_decoding=False,
        problems=problems,
        rows=rows,
    )


def cut(path: Path, *videos: Video, notes: tuple[str, ...] = ()) -> Cut:
    kept = [each.id for one in videos for each in one.rows if each.kept]
    samples = Samples(pl.DataFrame({"id": kept}, schema={"id": pl.String}), path, notes)
    made = Cut(path, samples, videos, {})
    for each in made.rows:
        made.thumbnail(each).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (240, 135), (90, 120, 90)).save(made.thumbnail(each), "JPEG")
    return made


@pytest.fixture
def small(tmp_path: Path) -> Cut:
    return cut(
        tmp_path,
        video(
            "ore/a",
            row("ore/a-0000.000s.jpg", likeness=None),
            row("ore/a-0001.000s.jpg", 1.0, "blurred", relative_sharpness=0.21),
            row("ore/a-0002.500s.jpg", 2.5, "by hand", kept=True),
        ),
        video(f"ore/{HOSTILE}", row(f"ore/{HOSTILE}-0000.000s.png"), problems=("It breaks off.",)),
        notes=("ore/b.mp4 was left out: the file is empty.",),
    )


def text_of(page: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_every_frame_stands_there_with_its_reason(small: Cut) -> None:
    path = write_contact_sheet(small, COMMAND)
    assert path == small.path / "contact_sheet.html"
    page = path.read_text(encoding="utf-8")
    told = text_of(page)
    for words in (
        "3 of 4 frames kept",
        "From 2 videos.",
        "Left out: 1 blurred.",
        "Blurred: 21\u00a0% of the usual sharpness".replace("\u00a0", " "),
        "Kept by hand",
        "ore/a-0002.500s",
        "1920 × 1080 · 1:02.5 long · 1,875 frames · h264 · 2 of 3 kept",
        "It breaks off.",
        "ore/b.mp4 was left out: the file is empty.",
        "handlens frames ore --out out",
    ):
        assert words in told, words
    assert page.count("data:image/jpeg;base64,") == 4
    assert page.count('class="tile dropped"') == 1


def test_names_do_nothing_on_the_page(small: Cut) -> None:
    page = write_contact_sheet(small, ["handlens", "frames", "<b>"]).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    # Nothing is fetched from anywhere.
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "default-src 'none'" in page


def test_a_thumbnail_that_is_gone_is_said(small: Cut) -> None:
    small.thumbnail(small.rows[0]).unlink()
    assert "thumbnail not found" in write_contact_sheet(small, ["x"]).read_text(encoding="utf-8")


def test_many_frames_are_several_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_sheet, "FRAMES_A_PAGE", 4)
    made = cut(
        tmp_path,
        video("ore/a", *(row(f"ore/a-{number}.jpg") for number in range(6))),
        video("ore/b"),
        video("ore/c", *(row(f"ore/c-{number}.jpg") for number in range(3))),
    )
    write_contact_sheet(made, ["x"])
    names = sorted(path.name for path in tmp_path.glob("*.html"))
    assert names == ["contact_sheet-2.html", "contact_sheet-3.html", "contact_sheet.html"]
    pages = [(tmp_path / name).read_text(encoding="utf-8") for name in (names[2], *names[:2])]
    found = [re.findall(r'data-id="([^"]*)"', page) for page in pages]
    assert found == [
        [f"ore/a-{number}" for number in range(4)],
        ["ore/a-4", "ore/a-5", "ore/c-0", "ore/c-1"],
        ["ore/c-2"],
    ]
    assert all("9 of 9 frames kept" in page for page in pages)
    assert 'href="contact_sheet-2.html"' in pages[0]
    assert "page 2 of 3" in pages[1]


def test_no_frame_at_all(tmp_path: Path) -> None:
    assert "0 of 0 frames kept" in write_contact_sheet(cut(tmp_path, video("ore/a")), ["x"]).read_text(
        "utf-8"
    )


def test_the_same_folder_makes_the_same_page(small: Cut) -> None:
    first = write_contact_sheet(small, ["x"]).read_bytes()
    assert write_contact_sheet(small, ["x"]).read_bytes() == first


@pytest.mark.parametrize(
    ("reason", "figures", "expected"),
    [
        (None, {}, "Kept"),
        ("by hand", {"kept": True}, "Kept by hand"),
        ("by hand", {"kept": False}, "Left out by hand"),
        ("blurred", {"relative_sharpness": 0.214}, "Blurred: 21\u00a0% of the usual sharpness"),
        ("under-exposed", {"dark": 0.9951}, "Under-exposed: 99.5\u00a0% is dark"),
        ("over-exposed", {"bright": 1.0}, "Over-exposed: 100\u00a0% is burnt out"),
        ("near-identical", {"likeness": 0.9999}, "Near-identical: 99.9\u00a0% as in the last kept one"),
        ("damaged", {}, "Damaged: the file is damaged here"),
    ],
)
def test_verdicts(reason: str | None, figures: dict[str, float], expected: str) -> None:
    assert verdict(row("a", reason=reason, **figures)) == expected


def test_words(small: Cut) -> None:
    assert [clock(time) for time in (0, 5, 12.4, 59.9996, 62.5, 3723)] == [
        *("0:00", "0:05", "0:12.4", "1:00", "1:02.5", "1:02:03"),
    ]
    assert "sharpness 57.5 (67\u00a0%)" in figures(small.rows[0])
    assert figures(small.rows[0]).endswith("first")
    assert headline(replace(small, videos=())) == "3 of 0 frames kept"
    assert sentences(replace(small, videos=small.videos[1:])) == ("From 1 video.",)


OUTER = """<!doctype html><iframe src="inner.html" style="width:{width}px;height:4000px;border:0"></iframe>
<pre id="told"></pre><script>
addEventListener("message", (event) => {{ document.getElementById("told").textContent = event.data; }});
</script>"""
EARS = "<script>const wrong = []; addEventListener('error', (event) => wrong.push(event.message));</script>"
PROBE = """<script>
addEventListener("load", () => {
  const buttons = [...document.querySelectorAll(".tile button")];
  const told = () => document.getElementById("command").textContent;
  const before = told();
  for (const place of [1, 2, 3]) buttons[place].click();
  const during = told();
  const mark = document.querySelectorAll(".mark")[1].textContent;
  for (const place of [1, 2, 3]) buttons[place].click();
  document.getElementById("only-dropped").click();
  const shown = [...document.querySelectorAll(".tile")].filter((tile) => tile.offsetParent).length;
  parent.postMessage(JSON.stringify({
    width: document.documentElement.clientWidth, content: document.documentElement.scrollWidth,
    wrong, before, during, mark, after: told(), shown,
    broken: [...document.images].filter((image) => image.offsetParent && !image.naturalWidth).length,
  }), "*");
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at the page with")
@pytest.mark.parametrize("width", [360, 1200])
def test_in_a_browser(small: Cut, width: int, tmp_path: Path) -> None:
    page = write_contact_sheet(small, COMMAND).read_text(encoding="utf-8")
    page = page.replace("<head>", "<head>" + EARS, 1).replace("</body>", PROBE + "</body>", 1)
    (tmp_path / "inner.html").write_text(page, encoding="utf-8")
    (tmp_path / "outer.html").write_text(OUTER.format(width=width), encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync --hide-scrollbars"
    )
    asked = [
        *(str(CHROMIUM), *flags.split(), "--disable-background-networking", "--disable-component-update"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"),
        f"file://{tmp_path / 'outer.html'}",
    ]
    shown = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=True).stdout
    told = json.loads(unescape(re.search(r'<pre id="told">(.*?)</pre>', shown, re.DOTALL)[1]))  # type: ignore[index]
    assert told["wrong"] == []
    assert told["broken"] == 0
    assert told["content"] <= told["width"]
    assert told["before"] == told["after"] == "handlens frames ore --out out"
    assert told["mark"] == "To be kept"
    assert told["shown"] == 1
    # What a shell makes of the command.
    assert shlex.split(told["during"]) == [
        *("handlens", "frames", "ore", "--out", "out"),
        *("--keep", "ore/a-0001.000s", "--drop", "ore/a-0002.500s", "--drop", f"ore/{HOSTILE}-0000.000s"),
    ]
