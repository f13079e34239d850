"""The row store: kills, several processes, and files that are not ours."""

import errno
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from handlens.base.errors import HandlensError
from handlens.training import store as store_module
from handlens.training.store import RowStore

WIDTH = 3
HEADER = 16


def names(*numbers):
    """Digests as they are: 16 bytes in hexadecimal."""
    return [f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}" for number in numbers]


def rows(*numbers, width=WIDTH):
    """The features that a picture's number stands for."""
    return np.array([[n + 0.25 * at for at in range(width)] for n in numbers], np.float32).reshape(-1, width)


def add(store, *numbers, width=WIDTH):
    with store.writing():
        store.append(names(*numbers), rows(*numbers, width=width))


def assert_holds(store, *numbers, width=WIDTH):
    assert len(store) == len(numbers)
    assert store.missing(names(*numbers)) == []
    np.testing.assert_array_equal(store.gather(store.positions(names(*numbers))), rows(*numbers, width=width))


@pytest.fixture
def store(tmp_path):
    return RowStore(tmp_path / "store")


# reading and writing


def test_a_new_store_knows_nothing_and_leaves_no_folder(store):
    assert len(store) == 0
    assert store.missing(names(1, 2)) == [0, 1]
    assert not store.folder.exists()


def test_gather_equals_numpy(store):
    add(store, *range(10))
    add(store, *range(10, 23))
    assert_holds(store, *range(23))
    assert_holds(RowStore(store.folder), *range(23))
    order = np.random.default_rng(0).integers(0, 23, 200)
    np.testing.assert_array_equal(store.gather(order), rows(*range(23))[order])
    assert store.gather(order[:0]).shape == (0, WIDTH)
    assert store.size_bytes == store.data_path.stat().st_size == 23 * WIDTH * 4
    assert store.width == WIDTH


def test_the_rows_file_is_plain_numbers(store):
    add(store, 5, 6, 7)
    raw = np.fromfile(store.data_path, np.float32).reshape(-1, WIDTH)
    np.testing.assert_array_equal(raw, rows(5, 6, 7))


def test_what_gather_gives_is_a_copy(store):
    add(store, 1)
    store.gather(np.array([0]))[:] = 99
    assert_holds(store, 1)


def test_missing_names_each_different_picture_once(store):
    add(store, 1, 2)
    assert store.missing(names(3, 1, 3, 4, 2, 4, 4)) == [0, 3]
    assert store.missing(names(2, 2, 1)) == []
    assert store.missing([]) == []


def test_other_numbers_are_stored_as_single_precision(store):
    doubled = np.asfortranarray(np.arange(12, dtype=np.float64).reshape(4, 3))
    with store.writing():
        store.append(names(*range(4)), doubled)
    np.testing.assert_array_equal(store.gather(np.arange(4)), doubled.astype(np.float32))


def test_rows_added_after_a_look_are_seen(store):
    add(store, 1)
    store.gather(np.array([0]))
    add(store, 2)
    assert_holds(store, 1, 2)


def test_letting_go_of_read_pages_changes_nothing(store, monkeypatch):
    monkeypatch.setattr(store_module, "FORGET_AFTER_BYTES", 0)
    width = 4096
    for start in range(0, 40, 10):
        add(store, *range(start, start + 10), width=width)
    generator = np.random.default_rng(0)
    for _ in range(20):
        order = generator.integers(0, 40, 7)
        np.testing.assert_array_equal(store.gather(order), rows(*range(40), width=width)[order])


# kills


@pytest.fixture
def killed_while_appending(tmp_path):
    """A store with three rows, and the bytes of both files before and after two more."""
    store = RowStore(tmp_path / "store")
    add(store, 1, 2, 3)
    before = store.data_path.read_bytes(), store.index_path.read_bytes()
    add(store, 4, 5)
    return store.folder, before, (store.data_path.read_bytes(), store.index_path.read_bytes())


def assert_goes_on(folder, num_known, after):
    """After a kill, what is known is right, and going on ends where no kill would have ended."""
    store = RowStore(folder)
    assert len(store) == num_known
    numbers = [1, 2, 3, 4, 5]
    if num_known:
        assert_holds(store, *numbers[:num_known])
    missing = store.missing(names(*numbers))
    assert missing == list(range(num_known, 5))
    if missing:
        add(store, *(numbers[place] for place in missing))
    assert_holds(store, *numbers)
    assert_holds(RowStore(folder), *numbers)
    assert (store.data_path.read_bytes(), store.index_path.read_bytes()) == after


def test_killed_at_any_byte_of_the_rows(killed_while_appending):
    folder, (rows_before, index_before), after = killed_while_appending
    for length in range(len(rows_before), len(after[0]) + 1):
        (folder / "rows.f32").write_bytes(after[0][:length])
        (folder / "index").write_bytes(index_before)
        assert_goes_on(folder, 3, after)


def test_killed_at_any_byte_of_the_index(killed_while_appending):
    folder, _, after = killed_while_appending
    for length in range(len(after[1]) + 1):
        (folder / "rows.f32").write_bytes(after[0])
        (folder / "index").write_bytes(after[1][:length])
        assert_goes_on(folder, max(0, length // 16 - 1), after)


def test_rows_that_a_crash_of_the_machine_took_away(killed_while_appending):
    folder, _, after = killed_while_appending
    for length in range(len(after[0]) + 1):
        (folder / "rows.f32").write_bytes(after[0][:length])
        (folder / "index").write_bytes(after[1])
        assert_goes_on(folder, length // (4 * WIDTH), after)


@pytest.mark.parametrize("gone", ["rows.f32", "index"])
def test_a_file_that_was_deleted(gone, killed_while_appending):
    folder, _, after = killed_while_appending
    (folder / gone).unlink()
    assert_goes_on(folder, 0, after)


def test_the_lock_of_a_killed_process_holds_nobody_up(killed_while_appending):
    folder, _, _ = killed_while_appending
    (folder / "lock").write_bytes(b"")
    add(RowStore(folder), 6)
    assert_holds(RowStore(folder), *range(1, 7))


# files that are not ours


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"handlens",
        b"handlen",
        b"something else that is longer than a header, and ends not at a multiple of sixteen",
        b"\0" * 160,
        b"HANDLENS" + (3).to_bytes(8, "little") + b"x" * 160,
        b"handlens" + (2**62).to_bytes(8, "little") + b"x" * 160,
    ],
)
def test_a_foreign_index_counts_as_empty_and_is_replaced(index, store):
    store.folder.mkdir()
    store.index_path.write_bytes(index)
    store.data_path.write_bytes(b"y" * 1001)
    foreign = RowStore(store.folder)
    assert len(foreign) == 0
    assert foreign.missing(names(1)) == [0]
    add(foreign, 1, 2)
    assert_holds(RowStore(store.folder), 1, 2)
    assert store.data_path.stat().st_size == 2 * WIDTH * 4


def test_an_index_with_a_width_of_nothing_counts_as_empty(store):
    store.folder.mkdir()
    store.index_path.write_bytes(b"handlens" + bytes(8))
    store.data_path.write_bytes(b"y" * 100)
    assert len(RowStore(store.folder)) == 0


def test_a_full_disk_is_told_in_a_sentence(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    add(store, 1)
    with monkeypatch.context() as patched:
        patched.setattr(store_module, "write_at", full)
        with pytest.raises(HandlensError, match="full"):
            add(store, 2)
    # It goes on once there is room.
    add(store, 2)
    assert_holds(store, 1, 2)


# several at once

WRITER = """
import sys, time
import numpy as np
from pathlib import Path
from handlens.training.store import RowStore

folder, start, stop, pause = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
name = lambda n: f"{n * 0x9E3779B97F4A7C15 % 2**128:032x}"
numbers = list(range(start, stop))
for at in range(0, len(numbers), 5):
    store = RowStore(folder)
    batch = numbers[at : at + 5]
    with store.writing():
        todo = [batch[place] for place in store.missing(map(name, batch))]
        if todo:
            rows = np.array([[n + 0.25 * column for column in range(3)] for n in todo], np.float32)
            store.append([name(n) for n in todo], rows)
            print(len(store), flush=True)
            time.sleep(pause)
"""


def start_writer(folder, start, stop, pause=0.0):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(start), str(stop), str(pause)],
        stdout=subprocess.PIPE,
    )


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    folder = tmp_path / "store"
    # Each two share pictures.
    spans = [(0, 60), (30, 90), (45, 120)]
    writers = [start_writer(folder, *span, pause=0.002) for span in spans]
    for writer in writers:
        writer.communicate(timeout=100)
        assert writer.returncode == 0
    assert_holds(RowStore(folder), *range(120))
    # Once each.
    assert (folder / "index").stat().st_size == HEADER + 120 * 16
    assert (folder / "rows.f32").stat().st_size == 120 * WIDTH * 4


def test_processes_that_are_killed_leave_a_store_to_go_on_with(tmp_path):
    folder = tmp_path / "store"
    for batches in (1, 3):
        writer = start_writer(folder, 0, 200, pause=0.01)
        for _ in range(batches):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=100)
        known = len(RowStore(folder))
        assert known >= 5 * batches
        assert_holds(RowStore(folder), *range(known))
    store = RowStore(folder)
    add(store, *store.missing(names(*range(200))))
    assert_holds(RowStore(folder), *range(200))


def test_what_another_one_added_meanwhile_is_kept(store):
    late = RowStore(store.folder)
    add(store, 1, 2)
    assert len(late) == 0
    with late.writing():
        assert late.missing(names(1, 2, 3)) == [2]
        late.append(names(3), rows(3))
    assert_holds(late, 1, 2, 3)
    assert_holds(RowStore(store.folder), 1, 2, 3)


def test_a_reader_is_not_disturbed_by_a_writer(store):
    add(store, 1, 2)
    reader = RowStore(store.folder)
    assert_holds(reader, 1, 2)
    add(RowStore(store.folder), *range(3, 500))
    assert_holds(reader, 1, 2)


def test_a_second_writer_waits_for_the_first(store):
    order = []

    def second():
        with RowStore(store.folder).writing():
            order.append("second")

    with store.writing():
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(timeout=60)
    assert order == ["first", "second"]


def test_an_error_while_writing_lets_the_next_one_in(store):
    with pytest.raises(KeyboardInterrupt), store.writing():
        raise KeyboardInterrupt
    add(RowStore(store.folder), 1)
    assert_holds(RowStore(store.folder), 1)


# rows of other kinds and shapes

OLD_INDEX = bytes.fromhex("68616e646c656e730200000000000000") + b"a" * 16 + b"b" * 16
OLD_ROWS = bytes.fromhex("0000803f000000400000404000008040")


def test_a_store_as_it_was_always_written_is_read(tmp_path):
    (tmp_path / "index").write_bytes(OLD_INDEX)
    (tmp_path / "rows.f32").write_bytes(OLD_ROWS)
    store = RowStore(tmp_path)
    assert (len(store), store.width, store.shape) == (2, 2, (2,))
    assert store.gather(store.positions(["62" * 16, "61" * 16])).tolist() == [[3, 4], [1, 2]]


def test_a_store_is_written_as_it_always_was(store):
    with store.writing():
        store.append(["61" * 16, "62" * 16], np.array([[1, 2], [3, 4]], np.float32))
    assert store.data_path.name == "rows.f32"
    assert (store.index_path.read_bytes(), store.data_path.read_bytes()) == (OLD_INDEX, OLD_ROWS)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 5, 3), (2, 1, 3, 2)], ids=str)
@pytest.mark.parametrize(
    ("kind", "dtype"), [("float32", np.float32), ("uint8", np.uint8), ("bfloat16", np.int16)]
)
def test_rows_keep_their_kind_and_shape(kind, dtype, shape, tmp_path):
    made = np.random.default_rng(0).integers(0, 256, (7, *shape)).astype(dtype)
    store = RowStore(tmp_path / "store", kind)
    with store.writing():
        store.append(names(*range(4)), made[:4])
    again = RowStore(tmp_path / "store", kind)
    assert (again.shape, again.width, again.row_bytes) == (shape, made[0].size, made[0].nbytes)
    with again.writing():
        again.append(names(4, 5, 6), made[4:])
    rows_back = again.gather(again.positions(names(*range(7))))
    assert rows_back.dtype == dtype
    np.testing.assert_array_equal(rows_back, made)
    np.testing.assert_array_equal(again.row(names(5)[0]), made[5])
    assert again.size_bytes == again.data_path.stat().st_size == made.nbytes


def test_shaped_rows_killed_at_any_byte_of_the_index(tmp_path):
    made = np.arange(5 * 6, dtype=np.uint8).reshape(5, 2, 3)
    store = RowStore(tmp_path, "uint8")
    with store.writing():
        store.append(names(*range(5)), made)
    whole = store.index_path.read_bytes()
    for length in range(len(whole) + 1):
        store.index_path.write_bytes(whole[:length])
        again = RowStore(tmp_path, "uint8")
        assert len(again) == max(0, (length - 32) // 16)
        with again.writing():
            missing = again.missing(names(*range(5)))
            if missing:
                again.append([names(place)[0] for place in missing], made[missing])
        np.testing.assert_array_equal(again.gather(np.arange(5)), made)
        assert again.index_path.read_bytes() == whole


@pytest.mark.parametrize("shape", [bytes(16), (7).to_bytes(4, "little") * 4])
def test_an_index_whose_shape_is_not_its_width_counts_as_empty(shape, tmp_path):
    (tmp_path / "index").write_bytes(b"handrows" + (6).to_bytes(8, "little") + shape + b"x" * 32)
    (tmp_path / "rows.u8").write_bytes(b"y" * 100)
    assert len(RowStore(tmp_path, "uint8")) == 0


def test_numbers_of_another_kind_are_not_turned_into_words(tmp_path):
    store = RowStore(tmp_path, "bfloat16")
    with store.writing(), pytest.raises(TypeError, match="float32"):
        store.append(names(1), np.ones((1, 3), np.float32))


def test_many_threads_may_ask_at_once(store, monkeypatch):
    monkeypatch.setattr(store_module, "FORGET_AFTER_BYTES", 0)
    add(store, *range(50), width=2048)
    expected = rows(*range(50), width=2048)
    wrong = []

    def ask(seed):
        asked = np.random.default_rng(seed).integers(0, 50, 200).tolist()
        wrong.extend(n for n in asked if not np.array_equal(store.row(names(n)[0]), expected[n]))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
