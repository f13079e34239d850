"""What checks give is fixed: others may rely on it."""

from dataclasses import FrozenInstanceError

import pytest

from handlens.audit.finding import Finding, Row


def test_a_row_needs_nothing_but_its_picture() -> None:
    row = Row("a.jpg")
    assert (row.action, row.to, row.beside, row.figure, row.why) == ("", "", (), None, "")
    assert Finding("files", "note", "title", "sentence").rows == ()


def test_findings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Row("a.jpg").action = "drop"  # type: ignore[misc]
