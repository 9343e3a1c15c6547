"""Prompts in networks of timm: against its register tokens where these are the same, and by what they must do."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from omlab.errors import SettingsError
from omlab_adapters.prompts import PromptPlan, drawn, give_prompts, padded_bias, rows, with_prompts, without_prompts
from omlab_adapters.prompts_swin import joined, partition
from omlab_adapters.prompts_timm import taking_prompts
from omlab_adapters.vpt import promptable

SIZES = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 5}


def image(batch: int = 2, size: int = 16) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def stirred(network: nn.Module) -> nn.Module:
    """With weights large enough that every part counts."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return network.eval()


def prompted(network: nn.Module, plan: PromptPlan, *, seed: int = 0) -> nn.Module:
    taking = taking_prompts(network)
    assert taking is not None
    give_prompts(taking, plan, seed=seed)
    return network


def prompt_of(network: nn.Module) -> Tensor:
    return dict(network.named_parameters())["layers.prompt" if isinstance(network, SwinTransformer) else "prompt"]


def swin(**more: object) -> SwinTransformer:
    sizes = {"img_size": 32, "patch_size": 4, "embed_dim": 8, "depths": (2, 2), "num_heads": (2, 2), "window_size": 4}
    return SwinTransformer(**{**sizes, "num_classes": 5, **more})


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_shallow_prompts_are_what_timm_calls_registers(pool: str) -> None:
    """Tokens behind the class token that have no position."""
    more = {"no_embed_class": True, "global_pool": pool}
    oracle = stirred(VisionTransformer(**SIZES, **more, reg_tokens=3))
    network = VisionTransformer(**SIZES, **more).eval()
    state = {name: tensor for name, tensor in oracle.state_dict().items() if name != "reg_token"}
    network.load_state_dict(state)
    prompted(network, PromptPlan(length=3))
    with torch.no_grad():
        prompt_of(network).copy_(oracle.reg_token)
        assert torch.allclose(network(image()), oracle(image()), atol=1e-5)


def test_rotary_positions_begin_behind_the_prompts() -> None:
    more = {"no_embed_class": True, "use_rot_pos_emb": True, "swiglu_mlp": True, "global_pool": "token"}
    oracle = stirred(Eva(**SIZES, **more, num_reg_tokens=2))
    network = Eva(**SIZES, **more).eval()
    network.load_state_dict({n: t for n, t in oracle.state_dict().items() if n in network.state_dict()})
    prompted(network, PromptPlan(length=2))
    with torch.no_grad():
        prompt_of(network).copy_(oracle.reg_token)
        assert torch.allclose(network(image()), oracle(image()), atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_a_prompt_has_no_relative_position(shared: bool) -> None:
    """Beit's bias is of pairs of patches; with one of 0 its network is as one without."""
    bias = {"use_shared_rel_pos_bias": True} if shared else {"use_rel_pos_bias": True}
    network = stirred(Beit(**SIZES, **bias, init_values=None))
    plain = stirred(Beit(**SIZES, init_values=None))
    plain.load_state_dict({n: t for n, t in network.state_dict().items() if n in plain.state_dict()})
    both = [prompted(net, PromptPlan(length=2)) for net in (network, plain)]
    with torch.no_grad():
        assert not torch.allclose(both[0](image()), both[1](image()), atol=1e-3)
        for name, parameter in network.named_parameters():
            if "relative_position" in name:
                parameter.zero_()
        assert torch.allclose(both[0](image()), both[1](image()), atol=1e-5)


@pytest.mark.parametrize("compat", [False, True])
def test_deep_prompts_go_in_front_of_their_blocks(compat: bool) -> None:
    network = stirred(VisionTransformer(**SIZES))
    parts = copy.deepcopy(network)
    prompted(network, PromptPlan(length=2, deep=True, compat=compat))
    prompt = prompt_of(network)
    with torch.no_grad():
        prompt.normal_(generator=torch.Generator().manual_seed(2))
        tokens = parts._pos_embed(parts.patch_embed(image()))
        for block, row in zip(parts.blocks, [0, 0, 1] if compat else [0, 1, 2], strict=True):
            tokens = torch.cat([tokens[:, :1], prompt[row].expand(2, -1, -1), tokens[:, 1:]], dim=1)
            tokens = block(tokens)
            tokens = torch.cat([tokens[:, :1], tokens[:, 3:]], dim=1)
        assert torch.allclose(network(image()), parts.forward_head(parts.norm(tokens)), atol=1e-5)
    network(image()).sum().backward()
    assert prompt.grad is not None
    assert (prompt.grad.abs().sum((1, 2)) > 0).tolist() == ([True, True, False] if compat else [True] * 3)


@pytest.mark.parametrize("make", [lambda: VisionTransformer(**SIZES), swin])
def test_a_copy_has_prompts_of_its_own(make: type[nn.Module]) -> None:
    network = stirred(prompted(make(), PromptPlan(length=2)))
    other = copy.deepcopy(network)
    size = 32 if isinstance(network, SwinTransformer) else 16
    before = network(image(size=size))
    with torch.no_grad():
        prompt_of(other).mul_(-1)
    assert torch.equal(network(image(size=size)), before)
    assert not torch.allclose(other(image(size=size)), before)


def test_the_names_of_other_parameters_stay() -> None:
    for network in (VisionTransformer(**SIZES), swin()):
        before = {name for name, _ in network.named_parameters()}
        prompted(network, PromptPlan())
        assert {name for name, _ in network.named_parameters()} - before in ({"prompt"}, {"layers.prompt"})


@pytest.mark.parametrize("size", [32, 36])
def test_a_swin_transformer_does_not_mix_the_images_of_a_batch(size: int) -> None:
    network = stirred(prompted(swin(img_size=size), PromptPlan(length=3)))
    mixed = stirred(prompted(swin(img_size=size), PromptPlan(length=3, compat=True)))
    batch = image(3, size)
    with torch.no_grad():
        singly = torch.cat([network(one[None]) for one in batch])
        assert torch.allclose(network(batch), singly, atol=1e-5)
        assert torch.allclose(mixed(batch[:1]), network(batch[:1]), atol=1e-6)  # of one image there is nothing to mix
        assert not torch.allclose(mixed(batch), singly, atol=1e-4)


def test_a_swin_transformer_averages_over_prompts_and_patches() -> None:
    network = stirred(prompted(swin(), PromptPlan(length=3)))
    with torch.no_grad():
        features = network.forward_features(image(size=32))
        assert features.shape == (2, 1, 3 + 16, 16)
        assert torch.allclose(network.forward_head(features, pre_logits=True), features.mean((1, 2)), atol=1e-6)


def test_prompts_are_drawn_by_the_seed() -> None:
    for init in ("normal", "uniform", "kaiming"):
        first = drawn(12, length=5, width=64, init=init, seed=3)
        assert torch.equal(first, drawn(12, length=5, width=64, init=init, seed=3))
        assert not torch.equal(first, drawn(12, length=5, width=64, init=init, seed=4))
    assert drawn(12, length=5, width=64, init="normal", seed=0).std().item() == pytest.approx(0.02, rel=0.1)
    assert drawn(12, length=5, width=64, init="uniform", seed=0).abs().max().item() == pytest.approx(0.08, rel=0.01)
    assert not drawn(2, length=1, width=4, init="zero", seed=0).any()


def test_what_cannot_be_is_one_sentence() -> None:
    with pytest.raises(SettingsError, match="length is 0"):
        PromptPlan(length=0)
    with pytest.raises(SettingsError, match="init is 'token'"):
        PromptPlan(init="token")
    with pytest.raises(SettingsError, match="depth=shallow"):
        prompted(swin(), PromptPlan(deep=True))
    with pytest.raises(SettingsError, match="Linear has none"):
        promptable(nn.Linear(2, 2))
    with pytest.raises(SettingsError, match="ModuleList has 2"):
        promptable(nn.ModuleList([VisionTransformer(**SIZES), VisionTransformer(**SIZES)]))
    network = prompted(VisionTransformer(**SIZES), PromptPlan())
    with pytest.raises(SettingsError, match="prompts already"):
        promptable(network)


@given(st.integers(1, 6))
@settings(max_examples=6, deadline=None)
def test_rows_of_blocks(blocks: int) -> None:
    assert rows(blocks, deep=False) == [0] + [None] * (blocks - 1)
    assert rows(blocks, deep=True) == list(range(blocks))
    late = rows(blocks, deep=True, compat=True)
    assert late[0] == 0
    assert late[1:] == list(range(blocks - 1))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_pieces_go_there_and_back(batch: int, down: int, right: int, length: int, start: int) -> None:
    patches = torch.randn(batch, 2 * down, 3 * right, 4)
    windows = partition(patches, (2, 3))
    assert windows.shape == (batch, down * right, 6, 4)
    assert torch.equal(windows[0, 0], patches[0, :2, :3].reshape(6, 4))
    assert torch.equal(joined(windows, (2, 3), grid=(2 * down, 3 * right)), patches)
    tokens, prompt = patches.flatten(1, 2), torch.randn(length, 4)
    more = with_prompts(tokens, prompt, start=start)
    assert torch.equal(more[0, start : start + length], prompt)
    assert torch.equal(without_prompts(more, start=start, length=length), tokens)
    bias = torch.randn(2, 5, 5)
    padded = padded_bias(bias, start=start, length=length)
    assert not padded[:, start : start + length].any()
    rest = [place for place in range(5 + length) if not start <= place < start + length]
    assert torch.equal(padded[:, rest][..., rest], bias)
