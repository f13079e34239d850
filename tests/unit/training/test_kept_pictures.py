"""The picture store: pictures of all sizes come back whole, and kills cost only what was not done."""

import numpy as np
import pytest

from handlens.training.kept_pictures import ENTRY, MAGIC, PictureStore


def name(number):
    return f"{number + 1:032x}"


def picture(number):
    """A picture of a height and width of its own."""
    generator = np.random.default_rng(number)
    height, width = generator.integers(1, 9, 2)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def add(store, *numbers):
    with store.writing():
        store.append([name(number) for number in numbers], [picture(number) for number in numbers])


def assert_holds(store, *numbers):
    assert len(store) == len(numbers)
    for number in numbers:
        np.testing.assert_array_equal(store.row(name(number)), picture(number))
        assert store.num_bytes(name(number)) == picture(number).size


def test_pictures_come_back(tmp_path):
    store = PictureStore(tmp_path / "store")
    assert store.missing([name(0)]) == [0]
    assert not store.folder.exists()
    add(store, 0, 1, 2)
    add(store, 3)
    assert_holds(store, 0, 1, 2, 3)
    assert_holds(PictureStore(store.folder), 3, 1, 0, 2)
    assert store.size_bytes == store.data_path.stat().st_size == sum(picture(n).size for n in range(4))
    store.row(name(1))[:] = 0
    assert_holds(store, 0, 1, 2, 3)


@pytest.fixture
def killed(tmp_path):
    """A store of three pictures, and what it holds with two more."""
    store = PictureStore(tmp_path / "store")
    add(store, 0, 1, 2)
    before = store.data_path.read_bytes(), store.index_path.read_bytes()
    add(store, 3, 4)
    return store, before, (store.data_path.read_bytes(), store.index_path.read_bytes())


def assert_goes_on(folder, known, after):
    store = PictureStore(folder)
    assert_holds(store, *range(known))
    if known < 5:
        add(store, *store.missing([name(number) for number in range(5)]))
    assert_holds(PictureStore(folder), *range(5))
    assert (store.data_path.read_bytes(), store.index_path.read_bytes()) == after


def test_killed_at_any_byte_of_the_pixels(killed):
    store, (data, index), after = killed
    for length in range(len(data), len(after[0]) + 1):
        store.data_path.write_bytes(after[0][:length])
        store.index_path.write_bytes(index)
        assert_goes_on(store.folder, 3, after)


def test_killed_at_any_byte_of_the_index(killed):
    store, _, after = killed
    for length in range(len(after[1]) + 1):
        store.data_path.write_bytes(after[0])
        store.index_path.write_bytes(after[1][:length])
        assert_goes_on(store.folder, max(0, (length - len(MAGIC)) // ENTRY.size), after)


def test_pixels_that_a_crash_of_the_machine_took_away(killed):
    store, _, after = killed
    ends = np.cumsum([picture(number).size for number in range(5)])
    for length in range(len(after[0]) + 1):
        store.data_path.write_bytes(after[0][:length])
        store.index_path.write_bytes(after[1])
        assert_goes_on(store.folder, int((ends <= length).sum()), after)


def test_entries_that_do_not_follow_each_other_are_not_believed(killed):
    store, _, (data, index) = killed
    entry = len(MAGIC) + 2 * ENTRY.size
    store.index_path.write_bytes(index[:entry] + ENTRY.pack(b"x" * 16, 5, 1, 1) + index[entry + ENTRY.size :])
    assert_goes_on(store.folder, 2, (data, index))
