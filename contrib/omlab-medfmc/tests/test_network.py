"""The published networks beside timm's, with the same weights and prompts: two ways to the same numbers."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from omlab.errors import InputError, SettingsError
from omlab_adapters.prompts import PromptPlan, TakesPrompts, give_prompts
from omlab_adapters.vpt import promptable
from omlab_medfmc.swin import Swin, SwinConfig
from omlab_medfmc.vit import OUTPUTS, Vit, VitConfig, pooled, resized_positions

VIT = VitConfig(image_size=16, patch=4, width=24, depth=3, heads=2, hidden=48)
SWIN = SwinConfig(width=8, depths=(2, 2, 2), heads=(2, 2, 2), window=2, drop_path=0.0)
TO_TIMM = (
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"layers\.(\d+)\.ffn\.layers\.0\.0", r"blocks.\1.mlp.fc1"),
    (r"layers\.(\d+)\.ffn\.layers\.1", r"blocks.\1.mlp.fc2"),
    (r"layers\.(\d+)\.ln(\d)", r"blocks.\1.norm\2"),
    (r"layers\.(\d+)\.attn", r"blocks.\1.attn"),
    (r"^ln1", "norm"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa", r"layers.\1.blocks.\2.attn"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.0\.0", r"layers.\1.blocks.\2.mlp.fc1"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.1", r"layers.\1.blocks.\2.mlp.fc2"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.norm", r"layers.\1.blocks.\2.norm"),
    (r"^norm3", "norm"),
)


def stirred(network: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return network.eval()


def for_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in state.items():
        if name.endswith("relative_position_index") or name == "prompt":
            continue
        for pattern, words in TO_TIMM:
            name = re.sub(pattern, words, name)
        merging = re.match(r"stages\.(\d+)\.downsample\.(.+)", name)
        if merging is not None:  # theirs stands at the beginning of the next stage, and its channels inside
            width = tensor.shape[-1] // 4
            order = torch.arange(4 * width).reshape(width, 2, 2).permute(2, 1, 0).flatten()
            name = f"layers.{int(merging[1]) + 1}.downsample.{merging[2]}"
            tensor = tensor[..., order]
        found[name] = tensor
    return found


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def same_prompts(ours: TakesPrompts, theirs: nn.Module, plan: PromptPlan) -> None:
    give_prompts(ours, plan, seed=5)
    give_prompts(promptable(theirs), plan, seed=5)


@pytest.mark.parametrize("plan", [None, PromptPlan(length=3), PromptPlan(length=2, deep=True, compat=True)])
def test_the_vision_transformer_is_timms(plan: PromptPlan | None) -> None:
    ours = stirred(Vit(VIT))
    theirs = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=24, depth=3, num_heads=2, mlp_ratio=2, num_classes=0
    ).eval()
    theirs.load_state_dict(for_timm(ours.state_dict()))
    if plan is not None:
        same_prompts(ours, theirs, plan)
    with torch.inference_mode():
        assert torch.allclose(ours(image(2, 3, 16, 16)), theirs(image(2, 3, 16, 16)), atol=1e-5)


@pytest.mark.parametrize("plan", [None, PromptPlan(length=3), PromptPlan(length=3, compat=True)])
@pytest.mark.parametrize("size", [32, 48])
def test_the_swin_transformer_is_timms_but_for_how_prompts_are_merged(plan: PromptPlan | None, size: int) -> None:
    """Copies of a prompt are in another order than patches upstream: with one such order both would be the same."""
    ours = stirred(Swin(SWIN))
    theirs = SwinTransformer(
        img_size=size, patch_size=4, embed_dim=8, depths=(2, 2, 2), num_heads=(2, 2, 2), window_size=2, num_classes=0
    ).eval()
    theirs.load_state_dict(for_timm(ours.state_dict()))
    if plan is not None:
        same_prompts(ours, theirs, plan)
    with torch.inference_mode():
        found, wanted = ours(image(2, 3, size, size)), theirs(image(2, 3, size, size))
    if plan is None:
        assert torch.allclose(found, wanted, atol=1e-5)
    else:
        assert not torch.allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("plan", [PromptPlan(length=3), PromptPlan(length=3, compat=True)])
def test_one_stage_of_a_swin_transformer_with_prompts_is_timms(plan: PromptPlan) -> None:
    config = SwinConfig(width=8, depths=(2,), heads=(2,), window=4, drop_path=0.0)
    ours = stirred(Swin(config))
    theirs = SwinTransformer(
        img_size=32, patch_size=4, embed_dim=8, depths=(2,), num_heads=(2,), window_size=4, num_classes=0
    ).eval()
    theirs.load_state_dict(for_timm(ours.state_dict()))
    same_prompts(ours, theirs, plan)
    with torch.inference_mode():
        assert torch.allclose(ours(image(3, 3, 32, 32)), theirs(image(3, 3, 32, 32)), atol=1e-5)


def test_images_of_a_batch_are_mixed_only_with_compat() -> None:
    batch = image(3, 3, 40, 36)
    networks = {}
    for compat in (False, True):
        networks[compat] = Swin(SWIN)
        give_prompts(networks[compat], PromptPlan(length=2, compat=compat), seed=0)
        stirred(networks[compat])
    with torch.inference_mode():
        singly = torch.cat([networks[False](one[None]) for one in batch])
        assert torch.allclose(networks[False](batch), singly, atol=1e-5)
        assert torch.allclose(networks[True](batch[:1]), singly[:1], atol=1e-5)
        assert not torch.allclose(networks[True](batch), singly, atol=1e-4)


def test_a_map_below_a_window_is_refused() -> None:
    with pytest.raises(InputError, match="1 x 4 patches is smaller than a window of 2"):
        Swin(SWIN)(image(1, 3, 4, 16))


def test_images_are_padded_to_whole_patches() -> None:
    network = stirred(Vit(VIT))
    whole = torch.zeros(1, 3, 16, 20)
    whole[..., :14, :18] = image(1, 3, 14, 18)
    with torch.inference_mode():
        assert torch.equal(network(whole), network(whole[..., :14, :18]))


def test_positions_of_another_grid() -> None:
    flat = torch.ones(1, 1 + 16, 4) * torch.arange(4)
    assert resized_positions(flat, (4, 4), grid=(4, 4)) is flat
    assert torch.allclose(resized_positions(flat, (4, 4), grid=(6, 5)), torch.arange(4.0).expand(1, 31, 4), atol=1e-5)


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_features_are_made_of(output: str) -> None:
    tokens = torch.arange(6.0)[None, :, None].expand(1, 6, 3)  # class token 0, prompts 1 and 2, patches 3 to 5
    wanted = {
        "cls_token": 0,
        "avg_featmap": 4,
        "avg_all": 2.5,
        "avg_prompt": 1.5,
        "avg_prompt_clstoken": 1,
        "avg_three": 5.5,
    }
    assert pooled(tokens, output=output, length=2)[0, 0] == wanted[output]
    network = Vit(VitConfig(image_size=16, patch=4, width=24, depth=1, heads=2, hidden=8, output=output))
    assert any(name.startswith("ln2") for name in network.state_dict()) == (output != "cls_token")
    if "prompt" in output:
        with pytest.raises(SettingsError, match="made of prompts"):
            network(image(1, 3, 16, 16))


def test_sizes_that_do_not_fit_are_one_sentence() -> None:
    with pytest.raises(SettingsError, match="5 heads do not divide 24"):
        VitConfig(width=24, heads=5)
    with pytest.raises(SettingsError, match="'mean' is none of cls_token"):
        VitConfig(output="mean")
    with pytest.raises(SettingsError, match="2 stages, but heads for 1"):
        SwinConfig(depths=(2, 2), heads=(2,))
    network = Swin(SWIN)
    with pytest.raises(SettingsError, match="depth=shallow"):
        give_prompts(network, PromptPlan(deep=True), seed=0)
