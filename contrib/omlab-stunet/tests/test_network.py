from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from omlab_stunet.network import SIZES, StuNet, StuNetConfig, Upsample, untrained

TWO_LEVELS = StuNetConfig(depth=(1, 1, 1), dims=(2, 3, 4), num_classes=3, poolings=((1, 2, 2), (2, 1, 2)))


@pytest.mark.parametrize(
    ("size", "parameters", "entries"),
    [("small", 14_596_941, 130), ("base", 58_262_669, 130), ("large", 440_302_605, 218), ("huge", 1_457_326_221, 306)],
)
def test_sizes_are_the_published_ones(size: str, parameters: int, entries: int) -> None:
    with torch.device("meta"):
        network = StuNet(SIZES[size])
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == entries


@settings(max_examples=20, deadline=None)
@given(
    scale=st.tuples(*[st.integers(1, 3)] * 3),
    size=st.tuples(*[st.integers(1, 4)] * 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_convolving_before_repeating_equals_the_published_order(
    scale: tuple[int, int, int], size: tuple[int, int, int], channels: tuple[int, int]
) -> None:
    layer = Upsample(*channels, scale=scale)
    x = torch.randn(2, channels[0], *size)
    repeated = functional.interpolate(x, scale_factor=[float(s) for s in scale], mode="nearest")
    torch.testing.assert_close(layer(x), layer.conv(repeated), rtol=1e-5, atol=1e-5)


def test_heads_of_lower_resolutions_are_not_computed_at_inference() -> None:
    network = untrained(TWO_LEVELS)
    called: list[int] = []
    for index, head in enumerate(network.seg_outputs):
        head.register_forward_hook(lambda *_, index=index: called.append(index))
    x = torch.randn(1, 1, 4, 4, 8)
    assert network(x).shape == (1, 3, 4, 4, 8)
    assert called == [1]
    assert [tuple(level.shape) for level in network.train()(x)] == [(1, 3, 4, 4, 8), (1, 3, 4, 2, 4)]
    assert called == [1, 0, 1]


def test_gradients_reach_every_parameter() -> None:
    network = untrained(TWO_LEVELS).train()
    sum(level.square().sum() for level in network(torch.randn(2, 1, 4, 4, 8))).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_gradients_are_right_although_activations_work_in_place() -> None:
    network = untrained(StuNetConfig(depth=(2, 1), dims=(2, 2), num_classes=2, poolings=((1, 2, 2),))).double()
    x = torch.randn(1, 1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (x,))


def test_the_untrained_network_is_the_same_each_time() -> None:
    torch.manual_seed(1)
    first = untrained(TWO_LEVELS).state_dict()
    torch.manual_seed(2)
    second = untrained(TWO_LEVELS).state_dict()
    other = untrained(TWO_LEVELS, seed=1).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["seg_outputs.0.weight"], other["seg_outputs.0.weight"])


def test_untrained_values_are_he_normal() -> None:
    network = untrained(SIZES["tiny"])
    weight = network.get_parameter("conv_blocks_context.4.0.conv2.weight")
    expected = (2 / (1 + 0.01**2) / (96 * 27)) ** 0.5
    assert weight.std().item() == pytest.approx(expected, rel=0.02)
    assert not network.get_parameter("conv_blocks_context.4.0.conv2.bias").any()
    assert (network.get_parameter("conv_blocks_context.4.0.norm2.weight") == 1).all()


@pytest.mark.parametrize("shape", [(1, 2, 4, 4, 8), (1, 1, 3, 4, 8), (1, 1, 4, 4, 6), (1, 4, 4, 8)])
def test_an_input_that_does_not_fit_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not \\("):
        untrained(TWO_LEVELS)(torch.zeros(shape))


@pytest.mark.parametrize(
    "change", [{"depth": (1, 1)}, {"poolings": ((2, 2, 2),)}, {"num_classes": 0}, {"dims": (2, 0, 4)}]
)
def test_a_configuration_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    values = {"depth": (1, 1, 1), "dims": (2, 3, 4), "poolings": ((1, 2, 2), (2, 1, 2)), **change}
    with pytest.raises(ValueError, match=r"must|have"):
        StuNetConfig(**values)  # type: ignore[arg-type]
