"""Copies found among files: which, how they are linked, what is told of them, and what they contradict."""

import io
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageEnhance
from saved import exif, keep
from test_fingerprints import texture

from handlens.base.errors import HandlensError
from handlens.data import near, neighbours
from handlens.data.copies import Cluster, Copies, CopySpec, by_features, divided, find_copies, grouped
from handlens.data.image import turned
from handlens.data.neighbours import Pairs
from handlens.data.orientations import ORIENTATIONS, WORDS, inverse
from handlens.data.samples import Samples
from handlens.data.scan import scan

Alter = Callable[[Image.Image], Image.Image]


def resaved(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=40)
    return Image.open(stream).convert("RGB")


ALTERATIONS: dict[str, Alter] = {
    "saved again": resaved,
    "smaller": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "squashed": lambda picture: picture.resize((224, 224)),
    "cropped": lambda picture: picture.crop((9, 3, 199, 155)),
    "trimmed": lambda picture: picture.crop((10, 8, 190, 152)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.25),
    "duller": lambda picture: ImageEnhance.Contrast(picture).enhance(0.6),
    "grey": lambda picture: picture.convert("L"),
}


def copies_of(paths: Sequence[Path], cache: Path, spec: CopySpec | None = None, **options: object) -> Copies:
    return find_copies(scan(paths, cache=cache), spec, cache=cache, **options)  # type: ignore[arg-type]


def kinds(copies: Copies) -> list[tuple[tuple[int, ...], str]]:
    return [(cluster.rows, cluster.kind) for cluster in copies.clusters]


def samples_of(paths: Sequence[Path], root: Path, **columns: Sequence[str | None]) -> Samples:
    names = [path.name for path in paths]
    table = {"id": names, "path": [str(path) for path in paths], "label": ["a"] * len(paths)}
    return Samples(
        pl.DataFrame(
            {**table, "group": [None] * len(paths), "split": [None] * len(paths), **columns},
            schema_overrides=dict.fromkeys(("label", "group", "split", *columns), pl.String),
        ),
        root,
    )


# What is found


def test_the_same_file_the_same_pixels_and_nearly_the_same(tmp_path: Path, cache: Path) -> None:
    original = keep(texture(0), tmp_path / "a 一.png")
    same_file = tmp_path / "b.png"
    same_file.write_bytes(original.read_bytes())
    paths = [
        original,
        same_file,
        keep(texture(0), tmp_path / "c.bmp"),
        keep(resaved(texture(0)), tmp_path / "d.jpg"),
        *(keep(texture(seed), tmp_path / f"other {seed}.png") for seed in range(1, 6)),
    ]
    found = copies_of(paths, cache)
    assert kinds(found) == [((0, 1, 2, 3), "near")]
    assert found.exact == ((0, 1, 2),)
    (cluster,) = found.clusters
    assert [member.kind for member in cluster.members] == ["bytes", "bytes", "pixels", "near"]
    assert [member.similarity for member in cluster.members[:3]] == [1, 1, 1]
    assert 0.6 < cluster.similarity == cluster.members[3].similarity < 1
    assert cluster.sentence([path.name for path in paths]) == (
        "a 一.png is there again: b.png (the same file), c.bmp (the same pixels), "
        f"d.jpg (nearly, {cluster.similarity:.2f})."
    )


def test_without_near_copies(tmp_path: Path, cache: Path) -> None:
    paths = [
        keep(texture(0), tmp_path / "a.png"),
        keep(texture(0), tmp_path / "b.bmp"),
        keep(resaved(texture(0)), tmp_path / "c.jpg"),
    ]
    assert kinds(copies_of(paths, cache, CopySpec(near=False))) == [((0, 1), "pixels")]


@pytest.mark.parametrize("way", ALTERATIONS)
def test_an_altered_copy_is_found_among_others(tmp_path: Path, cache: Path, way: str) -> None:
    paths = [keep(texture(seed), tmp_path / f"{seed}.png") for seed in range(8)]
    paths += [keep(ALTERATIONS[way](texture(seed)), tmp_path / f"{seed} {way}.jpg") for seed in range(4)]
    assert kinds(copies_of(paths, cache)) == [((seed, seed + 8), "near") for seed in range(4)]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_copy_is_found_and_its_orientation_told(
    tmp_path: Path, cache: Path, orientation: int
) -> None:
    paths = [keep(texture(seed), tmp_path / f"{seed}.png") for seed in range(4)]
    paths.append(keep(turned(resaved(texture(2)), orientation), tmp_path / "turned.jpg"))
    (cluster,) = copies_of(paths, cache).clusters
    assert cluster.rows == (2, 4)
    assert [member.orientation for member in cluster.members] == [1, orientation]
    told = cluster.sentence([path.name for path in paths])
    assert (WORDS[orientation] in told) == (orientation != 1)
    (back,) = copies_of(paths[::-1], cache).clusters
    assert [member.orientation for member in back.members] == [1, inverse(orientation)]


def test_a_tag_turns_as_the_pixels_do(tmp_path: Path, cache: Path) -> None:
    paths = [keep(texture(0), tmp_path / "upright.png")]
    paths.append(keep(turned(texture(0), 8), tmp_path / "tagged.jpg", quality=90, exif=exif(6)))
    (cluster,) = copies_of(paths, cache).clusters
    assert [member.orientation for member in cluster.members] == [1, 1]


def test_copies_of_copies_are_one_cluster_with_their_orientations(tmp_path: Path, cache: Path) -> None:
    def cropped(times: int) -> Image.Image:
        return texture(0, 400, 400).crop((15 * times, 15 * times, 400 - 15 * times, 400 - 15 * times))

    # Each is near to the next, and the last is farther from the first than is ever looked for.
    turns = [1, 6, 2, 7, 8, 3]
    paths = [
        keep(turned(cropped(times), turn), tmp_path / f"{times}.jpg", quality=92)
        for times, turn in enumerate(turns)
    ]
    (cluster,) = copies_of(paths, cache).clusters
    assert cluster.rows == tuple(range(6))
    assert [member.orientation for member in cluster.members] == turns


def test_nothing_depends_on_the_order(tmp_path: Path, cache: Path) -> None:
    paths = [keep(texture(seed), tmp_path / f"{seed}.png") for seed in range(20)]
    paths += [keep(resaved(texture(seed)), tmp_path / f"{seed}.jpg") for seed in range(0, 20, 3)]
    paths += [
        keep(texture(seed).transpose(Image.Transpose.ROTATE_90), tmp_path / f"t{seed}.png") for seed in (3, 7)
    ]
    first = copies_of(paths, cache)
    assert copies_of(paths, cache) == first

    def named(copies: Copies, order: Sequence[Path]) -> set[frozenset[str]]:
        return {frozenset(order[row].name for row in cluster.rows) for cluster in copies.clusters}

    shuffled = random.Random(1).sample(paths, len(paths))
    assert named(copies_of(shuffled, cache), shuffled) == named(first, paths)
    assert len(first.clusters) == 8


def test_different_pictures_of_one_material_are_no_copies(tmp_path: Path, cache: Path) -> None:
    stripes = np.sin(np.arange(200) / 4)[:, None] * np.ones(200)

    def piece(seed: int) -> Image.Image:
        rough = np.asarray(texture(seed, 200, 200).convert("L"), float) - 128
        return Image.fromarray((128 + 50 * stripes + rough / 3).clip(0, 255).astype(np.uint8))

    paths = [keep(piece(seed), tmp_path / f"{seed}.png") for seed in range(25)]
    assert copies_of(paths, cache).clusters == ()


def test_plain_pictures_are_told_and_not_put_together(tmp_path: Path, cache: Path) -> None:
    paths = [
        keep(Image.new("RGB", (60, 60), (level,) * 3), tmp_path / f"{level}.png") for level in (9, 99, 250)
    ]
    paths += [keep(texture(seed), tmp_path / f"t{seed}.png") for seed in range(2)]
    found = copies_of(paths, cache)
    assert found.clusters == ()
    assert found.notes == (
        "Too plain to tell near copies of them from other plain pictures: 3 of the pictures.",
    )


def test_unreadable_and_changed_files_stay_aside(tmp_path: Path, cache: Path) -> None:
    paths = [keep(texture(seed % 3), tmp_path / f"{seed}.jpg", quality=70 + 3 * seed) for seed in range(6)]
    paths.insert(0, tmp_path / "missing.jpg")
    facts = scan(paths, cache=cache)
    os.utime(paths[6], (1, 1))
    found = find_copies(facts, cache=cache)
    assert kinds(found) == [((1, 4), "near"), ((2, 5), "near")]
    assert found.notes == ("Not compared, because they changed while they were read: 1 of the pictures.",)


@pytest.mark.parametrize("number", [0, 1])
def test_too_few_to_have_copies(tmp_path: Path, cache: Path, number: int) -> None:
    paths = [keep(texture(seed), tmp_path / f"{seed}.png") for seed in range(number)]
    assert copies_of(paths, cache) == Copies((), (), ())


def test_few_pictures_in_memory_find_the_same(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [keep(texture(seed % 6), tmp_path / f"{seed}.jpg", quality=60 + seed) for seed in range(18)]
    expected = copies_of(paths, cache)
    assert len(expected.clusters) == 6
    monkeypatch.setattr(near, "_LARGER_KEPT", 3)
    monkeypatch.setattr(near, "_THUMBNAILS_AT_ONCE", 2)
    assert kinds(copies_of(paths, cache)) == kinds(expected)


def test_pairs_of_which_none_agrees_even_coarsely(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [keep(texture(seed % 3), tmp_path / f"{seed}.jpg", quality=60 + seed) for seed in range(6)]
    monkeypatch.setattr(near, "_LEAST_CORRELATION", 1.1)
    assert copies_of(paths, cache) == Copies((), (), ())


def test_without_faiss_the_same_is_found(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    paths = [keep(texture(seed % 6), tmp_path / f"{seed}.jpg", quality=60 + seed) for seed in range(18)]
    expected = copies_of(paths, cache)
    monkeypatch.setattr(neighbours, "find_spec", lambda _: None)
    assert copies_of(paths, cache) == expected


# Pairs in doubt


def labelled(number: int, word: str) -> Image.Image:
    """A picture of which a part was painted over."""
    picture = texture(number, 300, 300)
    picture.paste(texture(ord(word), 150, 130), (0, 0))
    return picture


def test_features_decide_pairs_in_doubt(tmp_path: Path, cache: Path) -> None:
    paths = [
        keep(labelled(0, "x"), tmp_path / "a.png"),
        keep(labelled(0, "y"), tmp_path / "b.png"),
        keep(texture(5), tmp_path / "c.png"),
        keep(resaved(texture(5)), tmp_path / "d.jpg"),
        keep(texture(6), tmp_path / "e.png"),
    ]
    spec = CopySpec(similarity=0.8, doubtful=0.2)
    asked: list[tuple[int, int, int]] = []

    def answering(answer: float) -> Callable[[Pairs], np.ndarray]:
        def confirm(pairs: Pairs) -> np.ndarray:
            asked.extend(zip(pairs.first, pairs.second, pairs.orientation, strict=True))
            return np.full(len(pairs), answer, np.float32)

        return confirm

    assert kinds(copies_of(paths, cache, spec)) == [((2, 3), "near")]
    assert kinds(copies_of(paths, cache, spec, confirm=answering(0.9))) == [((2, 3), "near")]
    assert kinds(copies_of(paths, cache, spec, confirm=answering(0.97))) == [
        ((0, 1), "near"),
        ((2, 3), "near"),
    ]
    assert asked == [(0, 1, 1)] * 2


def test_features_are_compared_by_their_cosine() -> None:
    rng = np.random.default_rng(0)
    made = {(row, turn): rng.normal(0, 1, 7) for row in range(6) for turn in ORIENTATIONS}
    calls: list[tuple[int, int]] = []

    def features(asked: Sequence[tuple[int, int]]) -> np.ndarray:
        calls.extend(asked)
        return np.stack([made[each] for each in asked]).astype(np.float32)

    pairs = Pairs(np.array([0, 0, 3]), np.array([1, 2, 5]), np.array([1, 6, 6]))
    expected = [
        np.dot(made[one], made[other]) / np.linalg.norm(made[one]) / np.linalg.norm(made[other])
        for one, other in (((0, 1), (1, 1)), ((0, 6), (2, 1)), ((3, 6), (5, 1)))
    ]
    np.testing.assert_allclose(by_features(features)(pairs), expected, rtol=1e-5)
    assert len(calls) == len(set(calls)) == 6


# What copies contradict


@pytest.fixture
def three_sets(tmp_path: Path, cache: Path) -> tuple[list[Path], tuple[Cluster, ...]]:
    paths = [
        keep(texture(0), tmp_path / "0.png"),
        keep(texture(1), tmp_path / "1.png"),
        keep(texture(2), tmp_path / "2.png"),
        keep(texture(0), tmp_path / "0 again.bmp"),
        keep(resaved(texture(1)), tmp_path / "1 again.jpg"),
        keep(resaved(texture(2)), tmp_path / "2 again.jpg"),
        keep(texture(3), tmp_path / "3.png"),
    ]
    return paths, copies_of(paths, cache).clusters


def test_copies_under_different_labels(
    tmp_path: Path, three_sets: tuple[list[Path], tuple[Cluster, ...]]
) -> None:
    paths, clusters = three_sets
    labels = ["ore", "ore", "slag", "slag", "slag", None, "ore"]
    samples = samples_of(paths, tmp_path, label=labels, coating=["none"] * 6 + ["thin"])
    assert [each.sentence() for each in divided(samples, clusters)] == [
        "The same picture has different labels: 0 again.bmp (slag), 0.png (ore).",
        "Nearly the same picture has different labels: 1 again.jpg (slag), 1.png (ore).",
    ]
    assert divided(samples, clusters, "coating") == []


def test_copies_on_several_sides(tmp_path: Path, three_sets: tuple[list[Path], tuple[Cluster, ...]]) -> None:
    paths, clusters = three_sets
    sides = ["train", "train", "train", "test", "train", "val", "test"]
    found = divided(samples_of(paths, tmp_path, split=sides), clusters, "split")
    assert [each.sentence() for each in found] == [
        "The same picture stands on several sides of the split: 0 again.bmp (test), 0.png (train).",
        "Nearly the same picture stands on several sides of the split: 2 again.jpg (val), 2.png (train).",
    ]
    assert [each.cluster.rows for each in found] == [(0, 3), (2, 5)]


def test_a_further_task_is_named(tmp_path: Path, three_sets: tuple[list[Path], tuple[Cluster, ...]]) -> None:
    paths, clusters = three_sets
    samples = samples_of(paths, tmp_path, coating=["thin", *["none"] * 6])
    (found,) = divided(samples, clusters, "coating")
    assert found.sentence().startswith("coating: The same picture has different labels: 0 again.bmp (none)")


def test_copies_become_one_group(tmp_path: Path, three_sets: tuple[list[Path], tuple[Cluster, ...]]) -> None:
    paths, clusters = three_sets
    groups = [None, "piece 1", "piece 2", None, "piece 2", None, None]
    found = grouped(samples_of(paths, tmp_path, group=groups), clusters).table["group"].to_list()
    # Piece 1 and piece 2 share a picture, and so they are one.
    assert found == [
        "0 again.bmp",
        "2 again.jpg",
        "2 again.jpg",
        "0 again.bmp",
        "2 again.jpg",
        "2 again.jpg",
        "3.png",
    ]


# Settings, and real data


def test_settings_that_cannot_be() -> None:
    with pytest.raises(HandlensError, match=r"similarity: .*less than or equal to 1"):
        CopySpec.parse({"similarity": 1.5}, "the recipe")
    with pytest.raises(HandlensError, match="there is no such key"):
        CopySpec.parse({"nearness": 0.5}, "the recipe")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "exact", "near"),
    [
        (
            "minerals7/quartz",
            {("0001.jpg", "0061.jpg")},
            {("0002.jpg", "0003.jpg"), ("0101.jpg", "0115.jpg")},
        ),
        (
            "weld2/good",
            {
                ("test_4-+9_row0_17.png", "train_4-+9_row0_17.png"),
                ("test_6--30.png", "train_6--30.png"),
                ("test_6-l13_row0_88.png", "train_6-l13_row0_88.png"),
                ("test_6-l14_row0_90.png", "train_6-l14_row0_90.png"),
                ("test_6-l16.png", "train_6-l16.png"),
                ("test_6-l6.png", "train_6-l6.png"),
                ("test_6-r3.png", "train_6-r3.png"),
                ("train_6-+2.png", "train_6-+3.png"),
            },
            {
                ("test_4-+9_row0_17.png", "train_4-+9.png", "train_4-+9_row0_17.png"),
                ("test_6-+14_row0_32.png", "train_6-+14.png"),
                ("test_6-+9_row0_45.png", "train_6-+9.png"),
            },
        ),
    ],
)
def test_known_doubles_of_real_data(
    shared: Path, cache: Path, folder: str, exact: set[tuple[str, ...]], near: set[tuple[str, ...]]
) -> None:
    paths = sorted(path for path in (shared / "data" / folder).iterdir() if path.is_file())
    found = copies_of(paths, cache)
    assert {tuple(paths[row].name for row in rows) for rows in found.exact} == exact
    seen = [cluster for cluster in found.clusters if cluster.kind == "near"]
    assert {tuple(paths[row].name for row in cluster.rows) for cluster in seen} == near
