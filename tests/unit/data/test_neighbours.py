"""Which pictures are paired: nearest hashes in all eight orientations."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest

from handlens.data import neighbours
from handlens.data.fingerprints import FREQUENCIES, Coefficients
from handlens.data.neighbours import Pairs, candidates
from handlens.data.orientations import ORIENTATIONS, inverse, turn_frequencies


def waves(number: int, seed: int = 0) -> Coefficients:
    """Waves as photographs have them: the longer, the stronger."""
    across = np.arange(FREQUENCIES)
    strength = 1 / (1 + across[:, None] + across)
    found = np.random.default_rng(seed).normal(0, 1, (number, FREQUENCIES, FREQUENCIES)) * strength
    found[:, 0, 0] = 0
    return unit(found)


def unit(found: np.ndarray) -> Coefficients:
    length = np.sqrt((found**2).sum((1, 2), keepdims=True))
    return np.asarray(found / np.maximum(length, 1e-9), np.float32)


def noisy(found: Coefficients, amount: float, seed: int = 1) -> Coefficients:
    return unit(found + amount * waves(len(found), seed))


def triples(pairs: Pairs) -> set[tuple[int, int, int]]:
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.orientation.tolist(), strict=True))


@pytest.fixture(params=["faiss", "numpy"])
def search(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "numpy":
        monkeypatch.setattr(neighbours, "find_spec", lambda _: None)
    else:
        pytest.importorskip("faiss")
    yield request.param


def test_a_copy_is_found_in_its_orientation(search: str) -> None:
    originals = waves(1200)
    turns = [ORIENTATIONS[row % 8] for row in range(80)]
    copies = np.concatenate(
        [turn_frequencies(originals[row : row + 1], turn) for row, turn in enumerate(turns)]
    )
    found = triples(candidates(np.concatenate([originals, noisy(copies, 0.3)]), 4))
    for row, turn in enumerate(turns):
        assert (row, 1200 + row, turn) in found
    # The same pair seen from the other side is the same entry.
    back = triples(candidates(np.concatenate([noisy(copies, 0.3), originals]), 4))
    for row, turn in enumerate(turns):
        assert (row, 80 + row, inverse(turn)) in back
    assert all(first < second for first, second, _ in found | back)


def test_both_searches_find_equally_near_codes() -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (700, 32), dtype=np.uint8)
    asked = rng.integers(0, 256, (90, 32), dtype=np.uint8)
    distance = (np.unpackbits(asked[:, None] ^ codes[None], axis=2)).sum(2)
    expected = np.sort(distance, axis=1)[:, :9]
    for search in (neighbours._by_faiss(codes), neighbours._by_numpy(codes)):
        rows = search(asked, 9)
        assert rows.shape == (90, 9)
        np.testing.assert_array_equal(np.sort(np.take_along_axis(distance, rows, 1), axis=1), expected)


def test_few_pictures_are_all_compared(search: str) -> None:
    alike = noisy(np.repeat(waves(1), 5, axis=0), 0.1)
    found = triples(candidates(alike, 16))
    assert {(first, second) for first, second, turn in found if turn == 1} == {
        (first, second) for first in range(5) for second in range(first + 1, 5)
    }


@pytest.mark.parametrize("number", [0, 1])
def test_one_picture_has_no_neighbour(search: str, number: int) -> None:
    assert len(candidates(waves(number), 16)) == 0


def test_pictures_that_tell_nothing_are_left_out(search: str) -> None:
    found = np.concatenate([np.zeros_like(waves(6)), noisy(np.repeat(waves(1), 2, axis=0), 0.1)])
    assert (6, 7, 1) in triples(candidates(found, 16))
    assert all(first >= 6 for first, _, _ in triples(candidates(found, 16)))
    assert len(candidates(np.zeros_like(found), 16)) == 0


def test_hardly_any_are_paired_where_all_differ() -> None:
    others = unit(np.random.default_rng(0).normal(0, 1, (300, FREQUENCIES, FREQUENCIES)))
    # Asked for were 300 x 8 x 16.
    assert len(candidates(others, 16)) < 800


def test_faiss_and_torch_work_in_one_process() -> None:
    """Both bring a library of threads of their own; whichever comes first, both must compute."""
    if not find_spec("faiss"):
        pytest.skip("faiss is not installed")
    code = (
        "import numpy as np\n"
        "def torch_works():\n"
        "    import torch\n"
        "    a = torch.randn(400, 400); assert torch.allclose((a @ a)[0], a[0] @ a, atol=1e-3)\n"
        "    torch.nn.Conv2d(3, 8, 3)(torch.randn(4, 3, 64, 64)).sum().backward()\n"
        "def faiss_works():\n"
        "    from handlens.data.neighbours import candidates\n"
        "    rng = np.random.default_rng(0)\n"
        "    w = rng.normal(0, 1, (3000, 11, 11)).astype(np.float32)\n"
        "    w /= np.sqrt((w**2).sum((1, 2), keepdims=True)); w[1:2] = w[:1]\n"
        "    assert len(candidates(w, 4)) >= 1\n"
        "for work in ({}): work()\n"
        "print('both')\n"
    )
    for order in ("torch_works, faiss_works, torch_works", "faiss_works, torch_works, faiss_works"):
        run = subprocess.run(
            [sys.executable, "-c", code.format(order)],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (run.returncode, run.stdout) == (0, "both\n"), run.stderr
