"""A place in which nothing can be written is told, and trying it leaves nothing."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from handlens.base.errors import HandlensError
from handlens.base.writable import require_file, require_folder


def test_what_can_be_made_passes_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (None, Path("new"), tmp_path / "new" / "below", tmp_path):
        require_folder(out)
    (tmp_path / "old.csv").touch()
    for out in (None, Path("a.csv"), tmp_path / "new" / "a.csv", tmp_path / "old.csv"):
        require_file(out)
    assert [each.name for each in tmp_path.iterdir()] == ["old.csv"]


def test_a_file_is_no_folder_and_holds_none(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(HandlensError, match=r"notes\.txt is a file\. Choose a folder with --out"):
        require_folder(file)
    for check in (require_folder, require_file):
        with pytest.raises(HandlensError, match=r"notes\.txt is a file, so .* cannot be written below it"):
            check(file / "new" / "a.csv")
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(HandlensError, match="is a folder, and a file is to be written"):
        require_file(tmp_path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
@pytest.mark.parametrize("check", [require_folder, require_file])
def test_where_the_system_lets_nobody_write(check: object) -> None:
    assert callable(check)
    with pytest.raises(HandlensError, match="in /proc nothing can be made"):
        check(Path("/proc/new/a.csv"))


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_the_reason_of_the_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refused(**_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(HandlensError) as caught:
        require_folder(tmp_path / "new")
    assert str(caught.value) == (
        f"{tmp_path / 'new'} cannot be written: in {tmp_path} nothing can be made "
        f"(the system says: {os.strerror(code)}). Choose another place with --out."
    )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="an administrator may write")
def test_a_folder_to_read_from(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(HandlensError, match="nothing can be made"):
        require_folder(locked / "new")
