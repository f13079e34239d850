"""Progress shows where somebody watches and nowhere else."""

import io

import pytest

from handlens.base.progress import progress, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work() -> None:
    with progress("Reading", total=3) as advance:
        for _ in range(3):
            advance(1)
    say("Read.")


def test_silent_where_nobody_watches(capfd: pytest.CaptureFixture[str]) -> None:
    work()
    assert capfd.readouterr() == ("", "")


def test_a_bar_on_standard_error_where_somebody_does(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    # A screen that rich can draw on, whatever the machine of the tests has.
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TTY_INTERACTIVE", raising=False)
    work()
    shown = terminal.getvalue()
    assert "Reading" in shown
    assert "3/3" in shown
    assert shown.endswith("Read.\n")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("watched", [False, True])
def test_an_error_comes_through(monkeypatch: pytest.MonkeyPatch, watched: bool) -> None:
    monkeypatch.setattr("sys.stderr", Terminal() if watched else io.StringIO())
    with pytest.raises(KeyboardInterrupt), progress("Reading", total=3):
        raise KeyboardInterrupt
