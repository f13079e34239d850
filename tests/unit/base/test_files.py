"""Files are whole or not there; a full disk is a sentence; digests keep their parts apart."""

import errno
import json
import os
from itertools import combinations
from pathlib import Path

import pytest

from handlens.base.errors import HandlensError
from handlens.base.files import cache_folder, digest, room_on_disk, whole_file, write_json, write_text


def test_a_file_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as partial:
        partial.write_text("all of it", encoding="utf-8")
        assert not path.exists()
        assert partial.parent == path.parent
    assert path.read_text(encoding="utf-8") == "all of it"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half-way"), whole_file(tmp_path / "a.txt") as partial:
        partial.write_text("half", encoding="utf-8")
        raise RuntimeError("half-way")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")
    with pytest.raises(failure), whole_file(path) as partial:
        partial.write_text("after", encoding="utf-8")
        raise failure
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(path: Path, *_: object, **__: object) -> int:
        path.touch()
        raise OSError(code, "no space")

    path = tmp_path / "metrics.json"
    write_text(path, "before")
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(HandlensError) as caught:
        write_text(path, "after")
    assert str(caught.value) == (
        f"The disk that holds {tmp_path} is full. Make room and give the same command again: "
        "it goes on where it stopped."
    )
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_already_for_the_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(HandlensError, match="is full"):
        write_text(tmp_path / "new" / "a.txt", "text")


def test_other_errors_of_the_disk_come_through(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), room_on_disk(tmp_path):
        raise PermissionError(errno.EACCES, "not yours")


def test_json_keeps_words_readable_and_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"class": "石墨", "value": 0.5})
    text = path.read_text(encoding="utf-8")
    assert "石墨" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"class": "石墨", "value": 0.5}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": float("nan")})
    assert path.read_text(encoding="utf-8") == text


def test_lines_end_the_same_on_every_system(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "a\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == b"a\nb\n"


def test_a_digest_keeps_its_parts_apart() -> None:
    parts: list[tuple[bytes | str, ...]] = [
        (),
        ("",),
        ("", ""),
        ("abc",),
        ("ab", "c"),
        ("a", "bc"),
        ("a", "b", "c"),
        ("abc", ""),
        ("", "abc"),
        (b"\x03\x00\x00\x00\x00\x00\x00\x00abc",),
    ]
    assert all(digest(*one) != digest(*other) for one, other in combinations(parts, 2))


def test_a_digest_is_stable_and_as_long_as_asked() -> None:
    assert digest("石墨") == digest("石墨".encode())
    assert len(digest("a")) == 32
    assert len(digest("a", length=8)) == 16
    # Kept features and runs are found again by it, so it must never change.
    assert digest("ab", b"c") == "4826ed043ab3cdec576d8541fa5d5a80"


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HANDLENS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "handlens"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
    assert cache_folder() == tmp_path / "system" / "handlens"
    monkeypatch.setenv("HANDLENS_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"


def test_a_disk_that_is_only_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(HandlensError, match="cannot be written"), room_on_disk(tmp_path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
