"""Room for what is kept: sizes by hand, a limit, and a disk that is nearly full."""

from collections import namedtuple

import numpy as np

from handlens.training import room
from handlens.training.room import Need, need_of, room_for
from handlens.training.store import RowStore

MIB = 2**20


def test_the_need_counts_each_different_picture_once(tmp_path):
    store = RowStore(tmp_path / "store", "uint8")
    with store.writing():
        store.append(["0a" * 16], np.zeros((1, 10), np.uint8))
    need = need_of([(store, ["0a" * 16, "0b" * 16, "0b" * 16, "0c" * 16], 10), (store, ["0d" * 16], 7)])
    assert need == Need(total_bytes=3 * 10 + 7, missing_bytes=2 * 10 + 7)


def test_the_limit_is_on_all_of_it_whatever_is_kept_already():
    assert room_for("Pixels", Need(5 * MIB, 5 * MIB), 5 * MIB).fits
    for missing in (0, MIB, 6 * MIB):
        refused = room_for("Pixels", Need(6 * MIB, missing), 5 * MIB)
        assert not refused.fits
        assert "6.0 MiB, over the limit of 5.0 MiB" in refused.sentence


def test_a_disk_that_is_nearly_full_is_left_alone(monkeypatch):
    usage = namedtuple("usage", "total used free")
    free = room.LEFT_FREE_BYTES + 3 * MIB
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage(0, 0, free))
    assert room_for("Pixels", Need(9 * MIB, 3 * MIB), 2**40).fits
    refused = room_for("Pixels", Need(9 * MIB, 4 * MIB), 2**40)
    assert not refused.fits
    assert "3.0 MiB to spare" in refused.sentence


def test_the_size_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(room, "say", told.append)
    sentence = room_for("Pixels of 7 pictures", Need(3 * 2**30, 0), 2**40).sentence
    assert sentence.startswith("Pixels of 7 pictures: 3.0 GiB, kept in ")
    assert told == [sentence]
