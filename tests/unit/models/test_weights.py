"""Weights: where they are looked for, what is refused, and that a file never runs code."""

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from handlens.base.errors import HandlensError
from handlens.models import backbones, weights
from handlens.models.weights import digest_of, in_folders, in_torchvision, load_into, read_state


class Evil:
    """What an attacker puts into a pickle: unpickling it writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def network(num_classes=5, width=3):
    """A trunk and a head, with a batch norm for its counter."""
    parts = OrderedDict(
        features=nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)),
        classifier=nn.Linear(width, num_classes),
    )
    return nn.Sequential(parts)


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"a": torch.randn(3, 4, generator=generator), "b": torch.arange(5)}


# where they are looked for


def test_the_order_of_looking(tmp_path, monkeypatch):
    folders = [tmp_path / "first", tmp_path / "second"]
    # An empty entry is not the current folder.
    monkeypatch.setenv("HANDLENS_WEIGHTS", os.pathsep.join(["", str(folders[0]), "", str(folders[1])]))
    order = [
        folder / stem
        for folder in folders
        for stem in (
            "torchvision/resnet18.safetensors",
            "torchvision/resnet18.pth",
            "resnet18.safetensors",
            "resnet18.pth",
        )
    ]
    for path in order:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    for path in order:
        found = in_folders("torchvision/resnet18")
        assert found is not None
        assert found.path == path
        assert path.name in found.source
        assert str(path.relative_to(tmp_path).parts[0]) in found.source
        path.unlink()
    assert in_folders("torchvision/resnet18") is None


def test_one_library_does_not_take_the_file_of_another(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDLENS_WEIGHTS", str(tmp_path))
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm/resnet18.pth").write_bytes(b"")
    assert in_folders("torchvision/resnet18") is None
    assert in_folders("timm/resnet18") is not None


def test_names_with_dots_and_folders_that_look_like_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDLENS_WEIGHTS", str(tmp_path))
    (tmp_path / "resnet18.tv_in1k.safetensors").mkdir()
    (tmp_path / "resnet18.tv_in1k.pth").write_bytes(b"")
    found = in_folders("timm/resnet18.tv_in1k")
    assert found is not None
    assert found.path == tmp_path / "resnet18.tv_in1k.pth"
    assert in_folders("timm/resnet18") is None


def test_the_home_folder_can_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HANDLENS_WEIGHTS", "~/weights")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/resnet18.pth").write_bytes(b"")
    assert in_folders("torchvision/resnet18") is not None


# weights that are nowhere


def assert_three_mends(message, library, name):
    assert f"{library}/{name}" in message
    for number, words in enumerate((f"{name}.safetensors", "HF_HUB_OFFLINE", "handlens/nano"), start=1):
        (line,) = [line for line in message.splitlines() if line.strip().startswith(f"{number}.")]
        assert words in line
    assert "--set model.backbone=handlens/nano --set model.weights=bundled" in line
    assert "never taken unasked" in line


def no_download(*_):
    raise AssertionError("the network was asked")


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "HANDLENS_OFFLINE"])
def test_offline_the_error_names_three_mends(switch, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv(switch, "1")
    monkeypatch.setenv("HANDLENS_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_download)
    with pytest.raises(HandlensError) as caught:
        backbones.create("torchvision/mobilenet_v3_small", "pretrained")
    assert_three_mends(str(caught.value), "torchvision", "mobilenet_v3_small")
    assert str(tmp_path / "mine") in str(caught.value)


def test_offline_timm_names_the_same_mends(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(HandlensError) as caught:
        backbones.create("timm/resnet18", "pretrained")
    assert_three_mends(str(caught.value), "timm", "resnet18")


def test_a_failed_download_is_told(monkeypatch):
    def fails(*_):
        raise OSError("no route to host")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    with pytest.raises(HandlensError, match="no route to host") as caught:
        in_torchvision("resnet18")
    assert_three_mends(str(caught.value), "torchvision", "resnet18")


def test_the_download_is_checked_by_the_hash_in_its_name_and_then_cached(monkeypatch):
    asked = []

    def download(url, path, hash_prefix):
        asked.append((url, hash_prefix))
        Path(path).write_bytes(b"weights")

    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    first = in_torchvision("resnet18")
    assert in_torchvision("resnet18").path == first.path
    ((url, hash_prefix),) = asked
    assert url == "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    assert hash_prefix == "f37072fd"
    assert first.path == Path(torch.hub.get_dir()) / "checkpoints" / "resnet18-f37072fd.pth"


# reading


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_reading_gives_what_was_saved(suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    torch.save(tensors(), path) if suffix == ".pth" else save_file(tensors(), path)
    state = read_state(path)
    assert state.keys() == tensors().keys()
    assert all(torch.equal(state[name], value) for name, value in tensors().items())


def test_a_checkpoint_of_a_training_program_is_unwrapped(tmp_path):
    torch.save({"state_dict": tensors(), "epoch": 90}, tmp_path / "w.pth")
    assert torch.equal(read_state(tmp_path / "w.pth")["a"], tensors()["a"])


@pytest.mark.parametrize("saved", [{"epoch": 90}, [torch.zeros(2)], torch.zeros(2)])
def test_what_is_no_table_of_tensors_is_refused(saved, tmp_path):
    torch.save(saved, tmp_path / "w.pth")
    with pytest.raises(HandlensError, match="state_dict"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("pack", ["pickle", "torch", "torch, old format", "beside tensors"])
def test_a_malicious_file_is_refused_and_not_run(pack, tmp_path):
    path, marker = tmp_path / "w.pth", tmp_path / "pwned"
    if pack == "pickle":
        path.write_bytes(pickle.dumps(Evil(marker), protocol=2))
    elif pack == "beside tensors":
        torch.save({**tensors(), "c": Evil(marker)}, path)
    else:
        torch.save(Evil(marker), path, _use_new_zipfile_serialization="old" not in pack)
    with pytest.raises(HandlensError, match="cannot be read as weights"):
        read_state(path)
    assert not marker.exists()


def test_the_malicious_file_would_have_run_otherwise(tmp_path):
    # Shows that the test above tests something.
    path, marker = tmp_path / "w.pth", tmp_path / "pwned"
    torch.save(Evil(marker), path)
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_a_whole_network_is_refused(tmp_path):
    torch.save(network(), tmp_path / "w.pth")
    with pytest.raises(HandlensError, match="cannot be read as weights"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_told_wherever_it_ends(suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    torch.save(tensors(), path) if suffix == ".pth" else save_file(tensors(), path)
    whole = path.read_bytes()
    for length in {0, 1, 4, 7, 8, 9, 50, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(HandlensError, match="cannot be read as weights"):
            read_state(path)


def test_a_safetensors_header_that_lies_about_its_length(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(HandlensError, match="cannot be read as weights"):
        read_state(path)


@pytest.mark.parametrize(
    "content", [b"", b"<html>404 Not Found</html>", b"version https://git-lfs.github.com/spec/v1"]
)
def test_a_web_page_saved_as_weights_is_told(content, tmp_path):
    for suffix in (".pth", ".safetensors"):
        (tmp_path / f"w{suffix}").write_bytes(content)
        with pytest.raises(HandlensError, match="cannot be read as weights"):
            read_state(tmp_path / f"w{suffix}")


@pytest.mark.parametrize("content", [b"hello world", b"Repository not found"])
def test_words_saved_as_weights_are_told(content, tmp_path):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(HandlensError, match="cannot be read as weights"):
        read_state(tmp_path / "w.pth")


def test_a_truncated_file_of_the_old_format_is_told_wherever_it_ends(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(tensors(), path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(HandlensError, match="cannot be read as weights"):
            read_state(path)


# putting them in


def fill(target, state, heads=("classifier",)):
    load_into(target, state, Path("file.pth"), heads)


def test_all_weights_arrive():
    source, target = network(), network()
    fill(target, source.state_dict())
    assert digest_of(target) == digest_of(source)


@pytest.mark.parametrize("change", ["of another size", "absent", "of another make"])
def test_the_head_may_differ(change):
    source, target = network(num_classes=1000), network(num_classes=5)
    state = source.state_dict()
    if change != "of another size":
        state = {name: value for name, value in state.items() if not name.startswith("classifier.")}
    if change == "of another make":
        state["classifier.6.weight"] = torch.zeros(4, 4)
    before = target.classifier.weight.clone()
    fill(target, state)
    assert digest_of(target.features) == digest_of(source.features)
    assert torch.equal(target.classifier.weight, before)


def test_a_batch_norm_without_its_counter_is_fine():
    source, target = network(), network()
    fill(target, {name: v for name, v in source.state_dict().items() if "num_batches" not in name})
    assert torch.equal(target.features[0].weight, source.features[0].weight)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("features.1.running_mean"), r"1 tensors have no value.*running_mean"),
        (lambda state: state.update(classifiers=torch.zeros(1)), r"no place in the network.*classifiers"),
        (lambda state: state.update({"features.0.weight": torch.zeros(1)}), r"wrong shape.*features\.0"),
    ],
)
def test_the_file_of_another_network_is_refused_and_changes_nothing(change, told):
    target = network()
    before = digest_of(target)
    state = dict(network(width=3).state_dict())
    change(state)
    with pytest.raises(HandlensError, match=told) as caught:
        fill(target, state)
    assert "another network" in str(caught.value)
    assert "file.pth" in str(caught.value)
    assert digest_of(target) == before


def test_a_wider_network_is_refused():
    with pytest.raises(HandlensError, match="wrong shape"):
        fill(network(width=3), network(width=4).state_dict())


# digests


def test_the_digest_is_that_of_the_bytes(tmp_path):
    for name, content in (("a", b"x" * 1000), ("b", b"x" * 1000), ("c", b"x" * 999 + b"y")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (weights.WeightsFile(tmp_path / name, "here").digest() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_digest_hears_the_smallest_change(dtype):
    net = network().to(dtype)
    before = digest_of(net)
    assert digest_of(net) == before
    with torch.no_grad():
        net.features[0].weight[0, 0, 0, 0] *= 1.01
    assert digest_of(net) != before


def test_the_digest_does_not_hear_how_memory_is_laid_out():
    net = network()
    assert digest_of(net) == digest_of(net.to(memory_format=torch.channels_last))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
def test_real_weights_load_and_give_what_torchvision_gives(name, shared, monkeypatch):
    import torchvision

    monkeypatch.setenv("HANDLENS_WEIGHTS", str(shared / "weights"))
    backbone = backbones.create(f"torchvision/{name}", "pretrained")
    assert backbone.pretrained
    whole = torchvision.models.get_model(name, weights=None).eval()
    state = read_state(shared / "weights" / f"{name}.safetensors")
    kept = {key: value for key, value in state.items() if key.startswith("features.")}
    missing, unexpected = whole.load_state_dict(kept, strict=False)
    assert not unexpected
    assert all(key.startswith("classifier.") or key.endswith("num_batches_tracked") for key in missing)
    picture = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(backbone.trunk(picture), whole.features(picture))
