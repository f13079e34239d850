"""`handlens audit`: its exit codes, what it prints, and what it leaves behind."""

import json
import shlex
import shutil
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

import handlens.cli.audit  # noqa: F401 (a command is known once its file is imported)
from handlens.audit import trials
from handlens.cli.app import run_command
from handlens.cli.runs import command_line
from handlens.data.samples import Samples

Draw = Callable[..., Samples]


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `handlens audit` in an empty folder."""
    monkeypatch.setattr(trials, "TREES", 2)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*words: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["handlens", "audit", *map(str, words)])
        code = run_command()
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def bad(draw: Draw) -> Path:
    """A set that has to be mended: one of eighteen files is no picture."""
    root = draw(num=8, folder="名 photos").root
    twin = root / "ore" / "twin.png"
    twin.write_bytes(next((root / "ore").iterdir()).read_bytes())
    (root / "ore" / "坏.png").write_bytes(b"no picture")
    return root


def test_what_has_to_be_mended_ends_with_3(audit: Command, bad: Path) -> None:
    ended = audit(bad, "--quick")
    assert ended.code == 3
    assert ended.out.startswith("1 thing to mend before any figure is believed, ")
    assert "Mend  Files: 1 file cannot be read" in ended.out
    assert ended.err == ""
    folder = Path("audits") / bad.name
    assert {path.name for path in folder.iterdir()} == {"audit.html", "actions.csv", "audit.json"}
    assert f"Pictures and reasons: {folder.resolve() / 'audit.html'}" in ended.out
    page = (folder / "audit.html").read_text(encoding="utf-8")
    assert f"--out &#39;{folder}&#39; --apply mended.csv" in page


def test_json_alone_is_printed(audit: Command, bad: Path) -> None:
    ended = audit(bad, "--quick", "--json", "--out", "a", "--apply", "m.csv")
    assert ended.code == 3
    told = json.loads(ended.out)
    assert told["must_be_mended"] is True
    assert Path(told["page"]).is_file()
    assert Path(told["actions"]).is_file()
    assert told["applied"]["unreadable"] == 1
    assert told["applied"]["table"] is None
    assert len(Samples.read("m.csv")) == 17


def test_the_mended_manifest_needs_no_mending(audit: Command, bad: Path) -> None:
    assert audit(bad, "--quick", "--apply", "mended.csv").code == 3
    ended = audit("mended.csv", "--quick")
    assert ended.code == 0, ended.out
    assert Path("audits/mended/audit.html").is_file()


def test_a_changed_table_is_followed(audit: Command, bad: Path) -> None:
    audit(bad, "--quick", "--out", "a")
    table = Path("a/actions.csv")
    name = "ore/twin.png"
    table.write_text(f"id,action,to\n{name},relabel,waste\n{name},drop?,\n", encoding="utf-8")
    ended = audit(bad, "--quick", "--out", "a")
    assert ended.code == 2
    assert "was changed since it was written" in ended.err
    ended = audit(bad, "--out", "a", "--apply", "m.csv")
    assert ended.code == 2
    assert "line 3: there is no action 'drop?'. Did you mean 'drop'" in ended.err
    table.write_text(f"id,action,to\n{name},relabel?,waste\n", encoding="utf-8")
    ended = audit(bad, "--out", "a", "--apply", "m.csv", "--relabel")
    assert ended.code == 0
    assert "1 with another label" in ended.out
    assert "Manifest: m.csv" in ended.out
    labels = dict(Samples.read("m.csv").table.select("id", "label").iter_rows())
    assert labels[name] == "waste"
    elsewhere = audit(bad, "--out", "b", "--actions", "a/actions.csv", "--apply", "n.csv")
    assert elsewhere.code == 0
    assert "1 proposed label left alone" in elsewhere.out
    assert not Path("b").exists()


def test_a_split_is_audited_with_the_pictures(audit: Command, bad: Path) -> None:
    samples = Samples.from_folder(bad)
    ids = samples.table["id"].to_list()
    twin = ids.index("ore/twin.png")
    sides = ["test" if at == twin or (at % 4 == 0 and at != twin) else "train" for at in range(len(ids))]
    content = [Path(path).read_bytes() for path in samples.table["path"]]
    other = next(at for at in range(len(ids)) if at != twin and content[at] == content[twin])
    sides[other] = "train"
    samples.with_table(samples.table.with_columns(split=pl.Series(sides))).save(Path("split.csv"))
    ended = audit(bad, "--quick", "--split", "split.csv")
    assert ended.code == 3
    assert "test pictures has a copy in training" in ended.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "There is no folder"),
        (["DATA", "--group", "("], "this is not a regular expression"),
        (["DATA", "--set", "files.blur=1"], "there is no such key"),
        (["DATA", "--recipe", "quik"], "Did you mean 'quick'"),
        (["DATA", "--split", "no.csv"], "no.csv"),
        (["DATA", "--relabel"], "--apply"),
        (["DATA", "--apply", "m.txt"], "one of these endings"),
        (["DATA", "--out", "DATA"], "holds other files"),
        (["DATA", "--label", "kind"], "kind"),
        (["DATA", "--actions", "no.csv", "--apply", "m.csv"], "There is no file no.csv"),
    ],
)
def test_wrong_input_ends_with_2_and_a_sentence(
    audit: Command, bad: Path, words: list[str], told: str
) -> None:
    ended = audit(*(str(bad) if word == "DATA" else word for word in words))
    assert ended.code == 2
    assert told in ended.err
    assert ended.out == ""
    assert not list(Path().rglob("audit.html"))


class Silent(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_: object) -> None:
        pass


def test_no_file_tells_the_password_that_the_pictures_lie_behind(
    audit: Command, draw: Draw, tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp")
    shutil.make_archive(str(tmp_path / "served" / "photos"), "zip", draw(num=4).root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=tmp_path / "served"))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    try:
        ended = audit(f"http://me:geh@eim@{host}/photos.zip?token=sesam", "--quick", "-o", tmp_path / "out")
    finally:
        server.shutdown()
        server.server_close()
    assert ended.code in (0, 3), ended.err
    files = [path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir() if path.is_file()]
    told = "\n".join([*files, ended.out, ended.err])
    assert f"http://{host}/photos.zip" in told
    assert not [secret for secret in ("geh", "eim", "sesam") if secret in told]


def test_the_command_is_told_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["train", "s3://key:se@cret@bucket/my photos", "--data=https://u:p@h/x?sig=1", "-s", "a.b=c@d"]
    monkeypatch.setattr(sys, "argv", ["handlens", *words])
    told = shlex.split(command_line(Path("runs/1")))
    bare = ["train", "s3://bucket/my photos", "--data=https://h/x", "-s", "a.b=c@d"]
    assert told == ["handlens", *bare, "--out", "runs/1"]
