"""The tool that writes our figures into the papers' tables, on a small made run."""

import csv

import pytest

import fill_expected
from handlens.base.errors import HandlensError
from handlens.reproduce.paper import COLUMNS, read_cells

ABOUT = {"date": "2026-01-02", "commit": "abc1234", "data": "made, 7 pictures"}
EXPECTED = [
    ("networks", "Net", "Net", "accuracy", "98.57", "50.00", "40.00", "60.00", "70.00", "old", "old", "old"),
    ("networks", "Net", "Net", "minutes", "39.10", "", "", "", "", "", "", ""),
    ("networks", "Net", "Net", "size_mib", "8.50", "8.49", "", "", "", "old", "old", "old"),
    ("networks", "I-Net", "Net + new head", "accuracy", "99.81", "", "", "", "", "", "", ""),
    ("networks", "I-nano", "nano + new head", "accuracy", "", "", "", "", "", "", "", ""),
]
RUN = """table,row,run,figure,paper,protocol,ours,low,high
networks,Net,Net,accuracy,98.57,honest,85.5445,82.1343,88.3957
networks,Net,Net,minutes,39.1,honest,1.5,,
networks,Net,Net,size_mib,8.5,honest,8.51,,
networks,Net,Net,minutes,39.1,paper,,,
networks,I-Net,Net + new head,accuracy,99.81,honest,86.1,80,90
networks,I-Net,Net + new head,accuracy,99.81,paper,97.129,95,99
classes,glass,Net,class_f1,,honest,50,,
"""


@pytest.fixture
def files(tmp_path):
    expected, run = tmp_path / "expected.csv", tmp_path / "reproduced.csv"
    with expected.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *EXPECTED])
    run.write_text(RUN)
    return expected, run


def ours(expected):
    cells = read_cells(expected.read_text(), "made")
    return {
        (cell.row, cell.figure): (cell.ours, cell.low, cell.high, cell.ours_paper_protocol, cell.date)
        for cell in cells
    }


def test_figures_of_a_run_take_the_place_of_all_that_was_there(files):
    expected, run = files
    assert fill_expected.fill(expected, run, ABOUT) == 3
    assert ours(expected) == {
        # The leaking figure was another run's, and this one has none.
        ("Net", "accuracy"): (85.54, 82.13, 88.40, None, "2026-01-02"),
        ("Net", "minutes"): (1.5, None, None, None, "2026-01-02"),
        # The size is that with the paper's number of classes, not with the run's.
        ("Net", "size_mib"): (8.49, None, None, None, "old"),
        ("I-Net", "accuracy"): (86.1, 80, 90, 97.13, "2026-01-02"),
        ("I-nano", "accuracy"): (None, None, None, None, ""),
    }
    first = next(csv.DictReader(expected.open()))
    assert (first["paper"], first["commit"], first["data"]) == ("98.57", "abc1234", "made, 7 pictures")


def test_a_map_sends_figures_to_rows_of_ours_and_leaves_the_papers_alone(files):
    expected, run = files
    run.write_text(RUN.replace("networks,Net,", "networks,Other,"))
    assert fill_expected.fill(expected, run, ABOUT, ["Net=nano"]) == 1
    found = ours(expected)
    assert found["I-nano", "accuracy"] == (86.1, 80, 90, 97.13, "2026-01-02")
    assert found["I-Net", "accuracy"] == (None, None, None, None, "")
    assert found["Net", "accuracy"][4] == "old"


def test_a_row_that_there_is_not_and_a_run_of_another_paper_are_refused(files):
    expected, run = files
    before = expected.read_text()
    with pytest.raises(HandlensError, match="has no row 'I-mano'"):
        fill_expected.fill(expected, run, ABOUT, ["Net=mano"])
    run.write_text(RUN.replace("networks,", "ways,"))
    with pytest.raises(HandlensError, match="has no figure for a row"):
        fill_expected.fill(expected, run, ABOUT)
    assert expected.read_text() == before
