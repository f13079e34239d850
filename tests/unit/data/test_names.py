"""Names from files: which lead out, what every system can write, and no two alike."""

import pytest

from handlens.data.names import LONGEST_BYTES, distinct, leads_out, name_of_data, safe_name, safe_part


@pytest.mark.parametrize(
    "name",
    [
        "../a.png",
        "a/../../b.png",
        "/etc/passwd",
        "\\\\server\\a.png",
        "..\\a.png",
        "C:\\a.png",
        "c:a.png",
        "",
        " ",
        "a\x00.png",
        "a/..",
        "..",
    ],
)
def test_names_that_lead_out(name):
    assert leads_out(name)


@pytest.mark.parametrize(
    "name", ["a.png", "train/图 1.png", "./a.png", "a..b/c...png", "a\\b.png", "...a.png"]
)
def test_names_that_stay(name):
    assert not leads_out(name)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("pyrite", "pyrite"),
        ("石墨 矿", "石墨 矿"),
        ("a/b", "a_b"),
        ('what? "x": <1|2>*\\', "what_ _x__ _1_2___"),
        (".hidden", "_hidden"),
        ("..", "_"),
        ("", "_"),
        ("ends. . ", "ends"),
        ("CON", "_CON"),
        ("nul.png", "_nul.png"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("Thumbs.db", "_Thumbs.db"),
        ("tab\there\n", "tab_here_"),
        ("cafe\u0301", "caf\u00e9"),
        ("lone \ud800", "lone _"),
    ],
)
def test_parts_that_every_system_writes(text, safe, tmp_path):
    assert safe_part(text) == safe
    (tmp_path / safe).touch()
    assert not safe.startswith(".")


def test_long_names_are_cut_and_keep_their_ending(tmp_path):
    for text in ("图" * 200 + ".png", "x" * 400, "y" * 300 + "." + "z" * 50):
        cut = safe_part(text)
        assert len(cut.encode()) <= LONGEST_BYTES
        assert cut.endswith(".png") == text.endswith(".png")
        (tmp_path / cut).touch()


def test_a_path_loses_what_is_empty():
    assert safe_name("./a//b?/.c.png") == "a/b_/_c.png"


def test_names_that_some_system_takes_for_one():
    names = ["A/1.png", "a/1.PNG", "a/1.png", "a/1-2.png", "b.png", "cafe\u0301.png", "caf\u00e9.png"]
    found = distinct(names)
    assert found[0] == "A/1.png"
    assert found[1] == "a/1-2.PNG"
    assert found[2] == "a/1-3.png"
    assert found[3] == "a/1-2-2.png"
    assert found[4:6] == names[4:6]
    assert len({name.casefold() for name in found}) == len(names)
    assert distinct(names) == found
    assert distinct(["x.png"] * 3) == ["x.png", "x-2.png", "x-3.png"]


def test_many_alike_take_no_longer_each():
    assert len(set(distinct(["same.png"] * 20_000))) == 20_000


def test_data_are_called_by_their_own_name(tmp_path, monkeypatch):
    (tmp_path / "photos.v2").mkdir()
    monkeypatch.chdir(tmp_path / "photos.v2")
    assert name_of_data(".") == "photos.v2"
    # Tables of one folder are not the same data.
    assert [name_of_data(f"lists/{name}") for name in ("a.csv", "b.PARQUET")] == ["a", "b"]
    assert name_of_data("https://host/photos?token=secret") == "photos"
