"""Backbones: the map that each network computes, checked against the libraries' own whole networks."""

import math
from fnmatch import fnmatch

import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional

from handlens.base.errors import HandlensError
from handlens.base.files import digest
from handlens.models import backbones, nano, weights
from handlens.models.backbones import ImagenetToHalf, TimmMap, create, tokens_to_map
from handlens.models.weights import digest_of

# One or more networks of every class that torchvision has: where its last map is seen passing by, and
# the side of the smallest picture that it takes with ease.
FAMILIES = {
    "alexnet": ("into avgpool", 64),
    "vgg11_bn": ("into avgpool", 64),
    "squeezenet1_1": ("into classifier", 64),
    "densenet121": ("out of features", 64),
    "mobilenet_v2": ("out of features", 64),
    "mobilenet_v3_small": ("into avgpool", 64),
    "efficientnet_b0": ("into avgpool", 64),
    "mnasnet0_5": ("out of layers", 64),
    "shufflenet_v2_x0_5": ("out of conv5", 64),
    "resnet18": ("into avgpool", 64),
    "resnext50_32x4d": ("into avgpool", 64),
    "regnet_y_400mf": ("into avgpool", 64),
    "googlenet": ("into avgpool", 64),
    "inception_v3": ("into avgpool", 96),
    "convnext_tiny": ("into avgpool", 64),
    "swin_t": ("into avgpool", 64),
    "swin_v2_t": ("into avgpool", 64),
    "maxvit_t": ("into classifier", 224),
}
VISION_TRANSFORMER = "vit_b_32"
# Drawing their first weights takes seconds to minutes, and any weights will do.
SLOW_STARTS = ("googlenet", "inception_v3", "vgg11_bn")


@pytest.fixture
def whole(monkeypatch):
    """The whole torchvision networks that a backbone was cut from; they share their weights with it."""
    made = []
    original = torchvision.models.get_model

    def get_model(name, **settings):
        if name in SLOW_STARTS:
            settings["init_weights"] = False
        made.append(original(name, **settings).eval())
        return made[-1]

    monkeypatch.setattr(torchvision.models, "get_model", get_model)
    return made


def picture(side, count=1):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def seen_passing(network, place, x):
    """What goes into or comes out of a module while the whole network computes."""
    way, _, name = place.rpartition(" ")
    seen = []
    module = network.get_submodule(name)
    hook = module.register_forward_hook(
        lambda _, given, out: seen.append((given[0] if way == "into" else out).clone())
    )
    with torch.inference_mode():
        network(x)
    hook.remove()
    return seen[0]


def assert_same(got, expected):
    assert got.shape == expected.shape
    assert expected.isfinite().all()
    spread = expected.std().item()
    assert spread > 0
    torch.testing.assert_close(got / spread, expected / spread, rtol=1e-4, atol=1e-4)


# torchvision


@pytest.mark.parametrize("name", FAMILIES)
def test_the_map_is_what_the_network_computes_before_its_pooling(name, whole):
    place, side = FAMILIES[name]
    backbone = create(f"torchvision/{name}", "none")
    (network,) = whole
    if name in ("googlenet", "inception_v3"):
        # As its published weights are used.
        network.transform_input = True
    expected = seen_passing(network, place, picture(side))
    if name == "densenet121":
        # It does this between two lines of its forward, in no module.
        expected = functional.relu(expected)
    assert not backbone.trunk.training
    with torch.inference_mode():
        got = backbone.trunk(picture(side))
    assert got.ndim == 4
    assert_same(got, expected)


def test_the_map_of_a_vision_transformer_is_its_tokens(whole):
    backbone = create(f"torchvision/{VISION_TRANSFORMER}", "none")
    (network,) = whole
    tokens = seen_passing(network, "out of encoder", picture(224))
    into_head = seen_passing(network, "into heads", picture(224))
    with torch.inference_mode():
        got = backbone.trunk(picture(224))
    width, side = into_head.shape[1], 224 // 32
    assert got.shape == (1, 2 * width, side, side)
    for row, column in ((0, 0), (0, side - 1), (3, 2), (side - 1, side - 1)):
        assert_same(got[:, :width, row, column], into_head)
        assert_same(got[:, width:, row, column], tokens[:, 1 + row * side + column])


def test_every_class_of_torchvision_is_among_the_tested():
    listed = torchvision.models.list_models(module=torchvision.models)
    classes = {name: torchvision.models.get_model_builder(name).__annotations__["return"] for name in listed}
    tested = {classes[name] for name in (*FAMILIES, VISION_TRANSFORMER)}
    assert len(listed) >= 80
    assert set(classes.values()) == tested


def test_inception_and_googlenet_take_imagenet_pictures_and_turn_them():
    seen = torch.rand(2, 3, 5, 5)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    torch.testing.assert_close(ImagenetToHalf()((seen - mean) / deviation), (seen - 0.5) / 0.5)


def test_random_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (create("torchvision/mobilenet_v3_small", "none", seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.digest == again.digest == digest_of(again.trunk) != other.digest
    assert not first.pretrained
    assert "seed 1" in other.source


def weights_folder(tmp_path, monkeypatch, name, state):
    monkeypatch.setenv("HANDLENS_WEIGHTS", str(tmp_path))
    torch.save(state, tmp_path / f"{name}.pth")


def test_weights_in_a_folder_are_used_whatever_their_head(tmp_path, monkeypatch):
    network = torchvision.models.mobilenet_v3_small(num_classes=7).eval()
    weights_folder(tmp_path, monkeypatch, "mobilenet_v3_small", network.state_dict())
    backbone = create("torchvision/mobilenet_v3_small", "pretrained")
    assert backbone.pretrained
    assert "mobilenet_v3_small.pth" in backbone.source
    found = backbones.locate("torchvision/mobilenet_v3_small", "pretrained")
    assert found is not None
    assert backbone.digest == found.digest()
    with torch.inference_mode():
        assert torch.equal(backbone.trunk(picture(64)), network.features(picture(64)))


def test_the_weights_of_another_network_are_refused(tmp_path, monkeypatch):
    state = torchvision.models.mobilenet_v3_large().state_dict()
    weights_folder(tmp_path, monkeypatch, "mobilenet_v3_small", state)
    with pytest.raises(HandlensError, match="another network") as caught:
        create("torchvision/mobilenet_v3_small", "pretrained")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("age", ["old", "new"])
def test_densenet_files_load_whatever_their_age(age, tmp_path, monkeypatch):
    network = torchvision.models.densenet121().eval()
    state = network.state_dict()
    if age == "old":
        # So are the names in densenet121-a639ec97.pth.
        for number in (1, 2):
            for part in ("norm", "conv"):
                state = {k.replace(f".{part}{number}.", f".{part}.{number}."): v for k, v in state.items()}
        assert "features.denseblock1.denselayer1.norm.1.weight" in state
    weights_folder(tmp_path, monkeypatch, "densenet121", state)
    trunk = create("torchvision/densenet121", "pretrained").trunk
    with torch.inference_mode():
        expected = functional.relu(network.features(picture(64)))
        assert torch.equal(trunk(picture(64)), expected)


def test_locate_only_looks_for_pretrained_weights(tmp_path, monkeypatch):
    (tmp_path / "resnet18.pth").write_bytes(b"")
    monkeypatch.setenv("HANDLENS_WEIGHTS", str(tmp_path))
    assert backbones.locate("torchvision/resnet18", "pretrained") is not None
    assert backbones.locate("torchvision/resnet18", "none") is None
    assert backbones.locate("torchvision/resnet34", "pretrained") is None


# timm


def timm_pair(name, side=224):
    """Our map, and timm's own network with the same weights."""
    backbone = create(f"timm/{name}", "none")
    network = timm.create_model(name, num_classes=0).eval()
    network.load_state_dict(backbone.trunk.features.network.state_dict())
    with torch.inference_mode():
        return backbone.trunk(picture(side)), network


@pytest.mark.parametrize(("name", "side"), [("resnet18", 64), ("swin_tiny_patch4_window7_224", 224)])
def test_the_mean_of_a_timm_map_is_what_timm_pools(name, side):
    got, network = timm_pair(name, side)
    assert got.shape == (1, network.num_features, side // 32, side // 32)
    with torch.inference_mode():
        assert_same(got.mean((2, 3)), network(picture(side)))


def test_a_timm_convnext_gives_its_last_map():
    got, network = timm_pair("convnext_atto", 64)
    with torch.inference_mode():
        assert_same(got, network.forward_features(picture(64)))


def test_a_timm_vision_transformer_gives_class_token_and_patches():
    got, network = timm_pair("vit_tiny_patch16_224")
    width = network.num_features
    assert got.shape == (1, 2 * width, 14, 14)
    with torch.inference_mode():
        tokens = network.forward_features(picture(224))
        assert_same(got[:, :width, 0, 0], network(picture(224)))
    assert_same(got[:, :width, 13, 5], tokens[:, 0])
    assert_same(got[:, width:, 13, 5], tokens[:, 1 + 13 * 14 + 5])


def small_transformer(class_token, registers):
    return timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2, num_classes=0,
        class_token=class_token, reg_tokens=registers, global_pool="",
    ).eval()  # fmt: skip


def test_registers_are_no_patches():
    network = small_transformer(class_token=True, registers=3)
    with torch.inference_mode():
        got, tokens = TimmMap("small", network)(picture(32)), network.forward_features(picture(32))
    assert got.shape == (1, 48, 4, 4)
    assert_same(got[:, :24, 1, 2], tokens[:, 0])
    assert_same(got[:, 24:, 1, 2], tokens[:, 4 + 1 * 4 + 2])


def test_without_a_class_token_there_are_only_patches():
    network = small_transformer(class_token=False, registers=2)
    with torch.inference_mode():
        got, tokens = TimmMap("small", network)(picture(32)), network.forward_features(picture(32))
    assert got.shape == (1, 24, 4, 4)
    assert_same(got[:, :, 1, 2], tokens[:, 2 + 1 * 4 + 2])


def test_a_timm_mixer_has_no_class_token():
    got, network = timm_pair("mixer_s32_224")
    with torch.inference_mode():
        tokens = network.forward_features(picture(224))
    assert got.shape == (1, network.num_features, 7, 7)
    assert_same(got[:, :, 2, 3], tokens[:, 2 * 7 + 3])


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_tokens_as_a_map_by_hand(prefix):
    tokens = torch.arange(2 * (prefix + 6) * 3.0).reshape(2, prefix + 6, 3)
    got = tokens_to_map(tokens, prefix, 2, 3)
    for n in range(2):
        for row in range(2):
            for column in range(3):
                patch = tokens[n, prefix + 3 * row + column]
                expected = torch.cat([tokens[n, 0], patch]) if prefix else patch
                assert torch.equal(got[n, :, row, column], expected)


def test_timm_weights_in_a_folder_may_have_a_head(tmp_path, monkeypatch):
    network = timm.create_model("convnext_atto", num_classes=1000).eval()
    weights_folder(tmp_path, monkeypatch, "convnext_atto", network.state_dict())
    backbone = create("timm/convnext_atto", "pretrained")
    assert backbone.pretrained
    with torch.inference_mode():
        assert torch.equal(backbone.trunk(picture(64)), network.forward_features(picture(64)))


@pytest.mark.parametrize(
    "name",
    [
        "coat_tiny",
        "crossvit_tiny_240",
        "deit_tiny_distilled_patch16_224",
        "efficientvim_m1",
        "efficientvit_b0",
        "inception_next_atto",
        "volo_d1_224",
    ],
)
def test_a_timm_network_without_a_map_is_told_or_works(name):
    try:
        with torch.inference_mode():
            assert create(f"timm/{name}", "none").trunk(picture(224)).ndim == 4
    except HandlensError as error:
        assert name in str(error)


# ours


def test_nano_is_the_same_at_every_call_and_small():
    first, again = create("handlens/nano", "bundled"), create("handlens/nano", "bundled")
    assert first.digest == again.digest
    halves = sum(2 * value.numel() for value in first.trunk.state_dict().values())
    assert halves < 4e6


def test_nano_gives_a_map_32_times_smaller():
    backbone = create("handlens/nano", "bundled")
    assert not backbone.trunk.training
    with torch.inference_mode():
        got = backbone.trunk(picture(224, count=2))
    assert got.shape[0] == 2
    assert got.shape[2:] == (7, 7)
    assert got.isfinite().all()
    # Not dead: most channels answer to something.
    assert ((got.amax((0, 2, 3)) - got.amin((0, 2, 3))) > 0).float().mean() > 0.5


@pytest.fixture
def bundled_file(tmp_path, monkeypatch):
    """A file in the place of the weights in the package: float16, without the counters of batch norms."""
    trunk = nano.nano()
    nano.draw_weights(trunk, seed=7)
    state = {name: value.half() for name, value in trunk.state_dict().items() if value.is_floating_point()}
    path = tmp_path / "nano.safetensors"
    save_file(state, path, metadata={"version": "3"})
    monkeypatch.setattr(weights, "BUNDLED", path)
    return path


def test_bundled_weights_are_those_of_the_file_in_float32(bundled_file, monkeypatch):
    monkeypatch.setenv("HANDLENS_WEIGHTS", "")
    backbone = create("handlens/nano", "bundled")
    assert backbone.pretrained
    assert backbone.source == "in the package (version 3), taught on drawn pictures"
    assert backbone.digest == digest(bundled_file.read_bytes())
    found = backbones.locate("handlens/nano", "bundled")
    assert found is not None
    assert (found.source, found.digest()) == (backbone.source, backbone.digest)
    kept, held = load_file(bundled_file), backbone.trunk.state_dict()
    assert all(value.dtype == torch.float16 for value in kept.values())
    for name, value in kept.items():
        assert held[name].dtype == torch.float32
        assert torch.equal(held[name], value.float())
    assert set(held) - set(kept) == {name for name in held if name.endswith("num_batches_tracked")}
    assert not any(module.training for module in backbone.trunk.modules())


def test_bundled_weights_need_no_version(bundled_file):
    save_file(load_file(bundled_file), bundled_file)
    assert create("handlens/nano", "bundled").source == "in the package, taught on drawn pictures"


def test_bundled_weights_with_the_own_rows_are_the_same(bundled_file):
    plain, rows = (create("handlens/nano", "bundled", own_rows=own) for own in (False, True))
    assert plain.digest == rows.digest
    with torch.inference_mode():
        assert torch.equal(plain.trunk(picture(64)).mean((2, 3)), rows.trunk(picture(64)))


@pytest.mark.parametrize("damage", ["gone", "cut off", "of another network"])
def test_damaged_weights_in_the_package_are_told(damage, bundled_file):
    if damage == "gone":
        bundled_file.unlink()
    elif damage == "cut off":
        bundled_file.write_bytes(bundled_file.read_bytes()[:1000])
    else:
        save_file({"conv.weight": torch.zeros(3)}, bundled_file)
    with pytest.raises(HandlensError, match=r"nano\.safetensors"):
        create("handlens/nano", "bundled")


def test_a_file_of_the_users_does_not_take_the_place_of_the_bundled_one(bundled_file, tmp_path, monkeypatch):
    (tmp_path / "mine/handlens").mkdir(parents=True)
    (tmp_path / "mine/handlens/nano.safetensors").write_bytes(b"")
    monkeypatch.setenv("HANDLENS_WEIGHTS", str(tmp_path / "mine"))
    assert create("handlens/nano", "bundled").digest == digest(bundled_file.read_bytes())


def test_the_file_in_the_package_is_small_float16_and_says_its_version():
    with safe_open(weights.BUNDLED, framework="pt") as file:
        assert file.metadata()["version"]
    assert all(value.dtype == torch.float16 for value in load_file(weights.BUNDLED).values())
    assert weights.BUNDLED.stat().st_size < 4e6


def test_random_weights_of_nano_are_no_pretrained_ones():
    backbone = create("handlens/nano", "none", seed=5)
    assert not backbone.pretrained
    assert backbone.source == "random (seed 5)"


def test_nano_from_scratch_follows_its_seed():
    digests = [create("handlens/nano", "none", seed).digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_nano_draws_nothing_from_global_randomness():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    create("handlens/nano", "bundled")
    assert torch.equal(torch.get_rng_state(), before)


# names


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("torchvision/resnet81", "resnet18"),
        ("torchvision/mobilnet_v2", "mobilenet_v2"),
        ("timm/convnext_ato", "convnext_atto"),
        ("handlens/nanno", "nano"),
        ("torchvison/resnet18", "torchvision"),
        ("resnet18", "torchvision/resnet18"),
        ("resnet18", "timm/resnet18"),
        ("mobilenet-v2", "torchvision/mobilenet_v2"),
        ("nano", "handlens/nano"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_right_one(name, told):
    with pytest.raises(HandlensError, match="Did you mean") as caught:
        create(name, "none")
    assert told in str(caught.value).partition("Did you mean")[2]


@pytest.mark.parametrize("name", ["", "qqqqqqqqqqqq", "timm/qqqqqqqqqqqqqq", "qqqqqqq/qqqqq"])
def test_a_name_that_is_like_no_other_is_answered_too(name):
    with pytest.raises(HandlensError):
        create(name, "none")


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnet18"])
def test_only_nano_is_bundled(name):
    with pytest.raises(HandlensError, match=f"{name}.*'pretrained'.*'none'"):
        create(name, "bundled")


def test_nano_is_not_downloaded():
    with pytest.raises(HandlensError, match=r"handlens/nano.*'bundled'.*'none'"):
        create("handlens/nano", "pretrained")


def test_all_names_are_listed_and_found_by_pattern(tmp_path, monkeypatch):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/resnet18.pth").write_bytes(b"")
    monkeypatch.setenv("HANDLENS_WEIGHTS", str(tmp_path))
    names = backbones.names()
    assert len(set(names)) == len(names)
    assert names[0] == "handlens/nano"
    assert sum(name.startswith("torchvision/") for name in names) >= 80
    found = dict(backbones.matching("ResNet18"))
    assert set(found) == {name for name in names if "resnet18" in name.lower()}
    assert "resnet18.pth" in found["torchvision/resnet18"]
    assert found["timm/resnet18"] == ""
    assert [name for name, _ in backbones.matching("torchvision/vgg1?")] == [
        name for name in names if fnmatch(name, "torchvision/vgg1?")
    ]
    assert dict(backbones.matching("nano"))["handlens/nano"] == "in the package"
    with pytest.raises(HandlensError, match="qqqqqq"):
        backbones.matching("qqqqqq")


def test_a_picture_that_is_not_square_gives_a_map_of_its_shape():
    trunk = create("torchvision/mobilenet_v3_small", "none").trunk
    with torch.inference_mode():
        got = trunk(torch.zeros(1, 3, 96, 160))
    assert got.shape == (1, 576, math.ceil(96 / 32), math.ceil(160 / 32))
