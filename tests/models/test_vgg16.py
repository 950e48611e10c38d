"""VGG16: the same features as torchvision's, frozen blocks that stay, normalisation that travels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torchvision.models.vgg import cfgs, make_layers

from models import vgg16
from models._layers import pooled
from models._registry import load_model
from models._weights import Weights, expected_shapes, read_weights
from search.training._recipe import make_optimizer

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Random weights in a file of the right form."""
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1, shape).astype(np.float32)
        for name, shape in expected_shapes().items()
    }
    path = tmp_path_factory.mktemp("weights") / "made_up.safetensors"
    save_file(tensors, path, {"mean": json.dumps(MEAN), "std": json.dumps(STD), "source": "made up"})
    return read_weights(path)


def configuration(**changes: object) -> vgg16.Vgg16Config:
    return vgg16.suggest(optuna.trial.FixedTrial({**vgg16.DEFAULT, **changes}))


def patches(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 50, 50, generator=torch.Generator().manual_seed(1))


def torchvision_features(weights: Weights, rgb: torch.Tensor, layers_taken: int = 30) -> torch.Tensor:
    """What torchvision's own layers make of a batch, by default up to the last pooling."""
    layers = make_layers(cfgs["D"])
    tensors = load_file(weights.path)
    layers.load_state_dict({name.removeprefix("features."): torch.from_numpy(tensors[name]) for name in tensors})
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (weights.mean, weights.std))
    with torch.inference_mode():
        return layers[:layers_taken]((rgb - mean) / std)


def features(network: torch.nn.Module, rgb: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network.tail(network.prefix.apart(rgb)[0])


def test_our_layers_are_torchvisions_by_number_and_shape() -> None:
    theirs = {f"features.{name}": tuple(tensor.shape) for name, tensor in make_layers(cfgs["D"]).state_dict().items()}
    assert expected_shapes() == theirs


@pytest.mark.parametrize("frozen", [0, 3, 5])
def test_features_equal_torchvisions_from_the_same_tensors(made_up: Weights, frozen: int) -> None:
    network = vgg16.build(configuration(frozen_blocks=frozen), made_up)
    torch.testing.assert_close(features(network, patches()), torchvision_features(made_up, patches()))


def test_frozen_features_are_means_of_the_same_maps_and_learn_nothing(made_up: Weights) -> None:
    network = vgg16.frozen_features(made_up, 3)
    assert [one for one in network.parameters() if one.requires_grad] == []
    maps, *_ = vgg16.build(configuration(frozen_blocks=3), made_up).prefix.apart(patches())
    torch.testing.assert_close(network(patches()), maps.mean((2, 3)))
    assert maps.shape[1] == 256


def test_features_of_the_real_weights_equal_torchvisions_on_a_real_patch(shared: Path) -> None:
    weights = read_weights(shared / "weights" / "vgg16_imagenet_features.safetensors")
    pixels = np.load(shared / "data" / "X.npy", mmap_mode="r")[[0, 5000]]
    rgb = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2) / 255
    found = features(vgg16.build(configuration(), weights), rgb)
    torch.testing.assert_close(found, torchvision_features(weights, rgb))
    assert 10 < found.max() < 15_000  # the right normalisation: another one gives another scale


def test_the_normalisation_travels_with_the_network(made_up: Weights) -> None:
    state = vgg16.build(configuration(), made_up).state_dict()
    assert state["prefix.normalise.mean"].flatten().tolist() == pytest.approx(MEAN)
    assert state["prefix.normalise.std"].flatten().tolist() == pytest.approx(STD)
    elsewhere = vgg16.build(configuration(), None)
    elsewhere.load_state_dict(state)
    with torch.inference_mode():
        rebuilt, first = elsewhere.eval()(patches()), vgg16.build(configuration(), made_up)
        first.load_state_dict(state)
        assert torch.equal(rebuilt, first.eval()(patches()))


@pytest.mark.parametrize("frozen", range(6))
def test_frozen_blocks_stay_and_the_others_move(frozen: int, made_up: Weights) -> None:
    config = configuration(frozen_blocks=frozen)
    network = vgg16.build(config, made_up)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = make_optimizer(vgg16.parameter_groups(network, config), config.recipe)
    network(patches()).sum().backward()
    optimizer.step()
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any(name.startswith("prefix.") for name in moved)
    learning = {name.split(".")[1] for name in moved if name.startswith("tail.")}
    assert len(learning) == sum(len(block) for block in vgg16.BLOCKS[frozen:])
    assert "head.1.weight" in moved


@pytest.mark.parametrize("joined", [1, 3])
@pytest.mark.parametrize("frozen", [2, 4])
def test_the_prefix_is_the_frozen_part_and_the_rest_takes_its_output(
    frozen: int, joined: int, made_up: Weights
) -> None:
    config = configuration(frozen_blocks=frozen, joined_blocks=joined)
    network = vgg16.build(config, made_up).eval()
    assert not any(parameter.requires_grad for parameter in network.prefix.parameters())
    with torch.inference_mode():
        outputs = network.prefix(patches())
        kept = outputs if vgg16.prefix_name(config) is None else outputs.bfloat16()
        assert torch.equal(network.after_prefix(kept), network(patches()))


def test_outputs_of_three_and_more_frozen_blocks_are_worth_keeping_each_under_its_name() -> None:
    names = [vgg16.prefix_name(configuration(frozen_blocks=frozen, input_size=64)) for frozen in range(6)]
    assert names[:3] == [None, None, None]
    assert names[3:] == [f"blocks 1 to {frozen} at 64 pixels" for frozen in (3, 4, 5)]


@pytest.mark.parametrize(("frozen", "pooling"), [(0, "both"), (3, "mean"), (4, "max"), (5, "mean"), (5, "both")])
def test_the_head_sees_the_joined_blocks_wherever_they_are_frozen(frozen: int, pooling: str, made_up: Weights) -> None:
    network = vgg16.build(configuration(frozen_blocks=frozen, joined_blocks=3, pooling=pooling, head_width=0), made_up)
    given: list[torch.Tensor] = []
    network.head[1].register_forward_pre_hook(lambda _module, inputs: given.append(inputs[0]))
    with torch.inference_mode():
        network(patches())
        (normed,) = map(network.head[1], given[:1])
    expected = [pooled(pooling, torchvision_features(made_up, patches(), last)) for last in (17, 24, 30)]
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if frozen >= vgg16.KEPT_FROM else {}  # kept ones are rounded to bf16
    torch.testing.assert_close(given[0], torch.cat(expected, 1), **tolerance)
    each = [
        torch.nn.functional.layer_norm(one, one.shape[1:])
        for one in given[0].split([one.shape[1] for one in expected], 1)
    ]
    torch.testing.assert_close(normed, torch.cat(each, 1))


def test_a_stored_network_of_before_the_joined_blocks_is_still_one() -> None:
    """Tensors as they were stored then, and a configuration without the parameter."""
    before = {name: value for name, value in vgg16.DEFAULT.items() if name != "joined_blocks"}
    config = load_model("vgg16").configuration(before)
    assert config == configuration()
    names = {name: tuple(one.shape) for name, one in vgg16.build(config, None).head.state_dict().items()}
    assert names == {
        "1.weight": (512,),
        "1.bias": (512,),
        "3.weight": (128, 512),
        "3.bias": (128,),
        "6.weight": (1, 128),
        "6.bias": (1,),
    }


@pytest.mark.parametrize("frozen", [3, 5])
def test_whatever_the_head_sees_the_outputs_that_are_kept_are_the_same(frozen: int, made_up: Weights) -> None:
    plain, seen = configuration(frozen_blocks=frozen), ((1, "mean"), (2, "max"), (5, "both"), (5, "mean"))
    configs = [replace(plain, joined_blocks=joined, pooling=pooling) for joined, pooling in seen]
    networks = [vgg16.build(config, made_up).eval() for config in configs]
    assert len({vgg16.prefix_name(config) for config in configs}) == 1
    assert len({repr(network.prefix) for network in networks}) == 1
    with torch.inference_mode():
        kept = networks[0].prefix(patches()).bfloat16()
        logits = [network.after_prefix(kept) for network in networks]
        for network, found in zip(networks, logits, strict=True):
            assert torch.equal(found, network(patches()))


@pytest.mark.parametrize("frozen", [1, 2])
def test_outputs_that_are_not_kept_have_what_the_head_sees_and_no_more(frozen: int) -> None:
    def beside(joined: int) -> int:
        network = vgg16.build(replace(configuration(frozen_blocks=frozen), joined_blocks=joined), None)
        return len(network.prefix.apart(patches())) - 1

    assert [beside(joined) for joined in (1, 3, 4, 5)] == [0, 0, frozen - 1, frozen]


def test_backbone_and_head_learn_at_their_own_rates(made_up: Weights) -> None:
    config = configuration(backbone_learning_rate=1e-5, head_learning_rate=5e-3)
    network = vgg16.build(config, made_up)
    rates = {id(p): group["lr"] for group in vgg16.parameter_groups(network, config) for p in group["params"]}
    assert {rates[id(parameter)] for parameter in network.tail.parameters()} == {1e-5}
    assert {rates[id(parameter)] for parameter in network.head.parameters()} == {5e-3}


@pytest.mark.parametrize(("size", "side"), [(50, 3), (64, 4), (96, 6)])
def test_the_input_size_is_the_networks_own_business(size: int, side: int, made_up: Weights) -> None:
    network = vgg16.build(configuration(input_size=size), made_up)
    assert features(network, patches(1)).shape == (1, 512, side, side)


def test_turning_a_patch_and_resizing_it_may_change_places() -> None:
    resize = vgg16._Resize(96)
    turned = patches().rot90(1, (2, 3))
    torch.testing.assert_close(resize(turned), resize(patches()).rot90(1, (2, 3)))


def test_random_weights_keep_the_scale_of_their_input() -> None:
    torch.manual_seed(0)
    spread = features(vgg16.build(configuration(), None), patches()).std().item()
    assert 0.05 < spread < 5


def test_grad_cam_reaches_the_last_map_even_where_all_blocks_are_frozen(made_up: Weights) -> None:
    network = vgg16.build(configuration(frozen_blocks=5), made_up)
    kept = []
    network.last_features.register_forward_hook(lambda _module, _given, maps: kept.append(maps.requires_grad_()))
    network(patches()).sum().backward()
    assert kept[0].grad.abs().sum() > 0
