"""The commands that show networks: for people, for programs, and with mistakes in them."""

import json

from drawn import Command

NETWORK = ("--set", "model.backbone=handlens/nano", "--set", "model.weights=none")


def test_modules_for_people_and_programs(handlens: Command) -> None:
    edit = ("--edit", "{insert: eca, after: blocks}")
    told = handlens("modules", "torchvision/squeezenet1_1", *edit)
    assert told.returncode == 0, told.stderr
    assert "features.12.expand3x3" in told.stdout
    assert told.stdout.count("insert: eca") == 8
    rows = json.loads(handlens("modules", "handlens/nano", *edit, "--json").stdout)
    roles = {row["path"]: row["roles"] for row in rows}
    assert roles["stage1"] == ["blocks", "stages"]
    # At the resolution of the last layer, which ends the stage.
    assert roles["stage4"] == ["blocks"]
    assert roles["last.2"] == ["stages"]
    assert [row["path"] for row in rows if row["edits"]] == ["stage1", "stage2", "stage3", "stage4"]


def test_model_for_people_and_programs(handlens: Command) -> None:
    edits = "model.edits=[{replace: conv3x3, with: gsconv, in: stage4}]"
    words = ("model", "careful", *NETWORK, "--set", edits, "--classes", 5)
    shown = handlens(*words)
    assert shown.returncode == 0, shown.stderr
    told = json.loads(handlens(*words, "--json").stdout)
    assert f"{told['num_parameters']:,}" in shown.stdout
    assert told["size_mib"] == told["num_parameters"] * 4 / 2**20
    assert told["stages"][-1]["shape"][0] == 640
    assert told["edits"][0]["modules"] == ["stage4.conv1", "stage4.conv2"]
    assert "touches 2 modules: stage4.conv1 to stage4.conv2" in shown.stdout


def test_mistakes_are_told_in_a_sentence(handlens: Command) -> None:
    for words, told in (
        (("modules", "torchvision/squeezenet1_2"), "squeezenet1_1"),
        (("modules", "handlens/nano", "--edit", "{insert: ecca, after: blocks}"), "edits.0.insert"),
        (("modules", "handlens/nano", "--edit", "{insert: eca, after: blocs}"), "blocks"),
        (("model", "careful", *NETWORK, "--set", "model.freeze={stages: 9}"), "stages"),
        (("model", "carefull"), "careful"),
    ):
        done = handlens(*words)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr
