"""The axon networks: forms that must agree, files that show their network, sizes that are refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omlab.errors import WeightsError
from omlab_axonseg.axial_attention import SelfAttention
from omlab_axonseg.axial_unet import UNetConfig
from omlab_axonseg.axon_networks import TINY, config_of, from_config, of_state, to_config, untrained, with_targets
from omlab_axonseg.cea_net import CeaNet


def naive(attention: SelfAttention, x: torch.Tensor, *, axis: int) -> torch.Tensor:
    """The same attention with the axis brought to the end by a copy."""
    rows = x.movedim(axis + 1, -2).contiguous()
    keys, values = attention.to_kv(rows).chunk(2, dim=-1)
    query, key, value = (
        one.unflatten(-1, (attention.heads, -1)).transpose(-2, -3) for one in (attention.to_q(rows), keys, values)
    )
    scores = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
    mixed = (scores.softmax(dim=-1) @ value).transpose(-2, -3).flatten(-2)
    out: torch.Tensor = attention.to_out(mixed).movedim(-2, axis + 1)
    return out


@pytest.mark.parametrize("axis", range(3))
def test_attention_without_copies_is_that_with_copies(axis: int) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(6, heads=2, head_size=5).double()
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    ours, theirs = attention(x, axis=axis), naive(attention, x, axis=axis)
    torch.testing.assert_close(ours, theirs)
    parts = [x, *attention.parameters()]
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), parts), torch.autograd.grad(theirs.square().sum(), parts), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["axial", "generic", "residual"])
def test_a_file_shows_its_network(name: str) -> None:
    network = untrained(name, tiny=True)
    again = of_state(network.state_dict(), source="here")
    assert to_config(again) == to_config(network) or name == "generic"  # whose window leaves no trace
    assert to_config(from_config(to_config(network))) == to_config(network)


def test_published_hyper_parameters_are_read_off_the_weights() -> None:
    with torch.device("meta"):
        from omlab_axonseg.axial_unet import AxialUNet

        published = AxialUNet(UNetConfig())
    assert sum(one.numel() for one in published.parameters()) == 50558368
    assert config_of(published.state_dict(), source="here") == UNetConfig()


def test_other_files_are_refused_by_name() -> None:
    with pytest.raises(WeightsError, match="no axon network"):
        of_state(nn.Linear(2, 2).state_dict(), source="linear.pth")
    state = {
        name: one for name, one in untrained("axial", tiny=True).state_dict().items() if not name.startswith("tu.0")
    }
    with pytest.raises(WeightsError, match="not a whole axon network"):
        of_state(state, source="part.pth")


def test_a_stage_far_behind_the_others_is_refused_at_once() -> None:
    far = "conv_blocks_context.99999999999999999999.blocks.0.conv.weight"
    with pytest.raises(WeightsError, match="not a whole axon network"):
        of_state({**untrained("axial", tiny=True).state_dict(), far: torch.zeros(1)}, source="m.pth")


def test_another_window_stretches_position_terms() -> None:
    before = untrained("axial", tiny=True)
    after = with_targets(before, classes=3, channels=1, volume=(24, 16, 32), seed=0).eval()
    assert after(torch.zeros(1, 1, 24, 16, 32)).shape == (1, 3, 24, 16, 32)
    key = "conv_blocks_context.0.blocks.0.conv.weight"
    assert torch.equal(after.state_dict()[key], before.state_dict()[key])


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="position terms"):
        untrained("axial", tiny=True)(torch.zeros(1, 1, 32, 32, 32))
    with pytest.raises(ValueError, match="multiples of 16"):
        untrained("residual", tiny=True)(torch.zeros(1, 1, 30, 32, 32))
    with pytest.raises(ValueError, match="at least 192"):
        CeaNet(widths=(4, 4, 4, 4), blocks=(1, 1, 1, 1))(torch.zeros(1, 1, 160, 192))
    assert TINY.total_stride == (4, 4, 4)
