"""Which cell is next: nobody computes features that another one is computing."""

from studied import parsed

from handlens.study.cells import cells_of
from handlens.study.order import is_alone, next_cell

STUDY = parsed(
    axes={
        "size": {"32": {}, "48": {"views.judge.size": 48}},
        "head": {"linear": {}, "layers": {"model.head.kind": "layers"}},
    }
)


def test_the_first_of_each_network_goes_before_the_others():
    cells = cells_of(STUDY)
    waiting, running, known = list(cells), [], set()
    for _ in range(2):
        cell = next_cell(waiting, running, known)
        assert cell is not None
        waiting.remove(cell)
        running.append(cell)
    assert [cell.row for cell in running] == ["32 + linear", "48 + linear"]
    # A third process would have nothing to do ...
    assert next_cell(waiting, running, known) is None
    # ... before one of them has ended well; where it failed, the next one computes its features.
    assert next_cell(waiting, running[1:], known).row == "32 + layers"
    assert next_cell(waiting, running[1:], {running[0].features}).row == "32 + layers"
    assert next_cell(waiting, running[:1], {running[1].features}).row == "48 + layers"


def test_a_cell_that_all_others_wait_for_is_alone():
    cells = [cell for cell in cells_of(STUDY) if cell.values["size"] == "32"]
    assert is_alone(cells[0], cells, [], set())
    assert not is_alone(cells[0], cells, [], {cells[0].features})
    assert not is_alone(cells[0], cells_of(STUDY), [], set())
    assert is_alone(cells[0], cells[:1], [], {cells[0].features})


def test_networks_that_train_wait_for_nobody():
    study = parsed(settings={"model.freeze": "none"}, seeds=2)
    first, second = cells_of(study)
    assert next_cell([second], [first], set()) is second
