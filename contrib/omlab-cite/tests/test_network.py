"""The tower with prompts, the projection, and checkpoints of three forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from omlab.errors import InputError, SettingsError, UsageError, WeightsError
from omlab_cite.network import Cite, cosine_logits, near_identity
from omlab_cite.vit import PromptConfig, PromptedVit, VitConfig
from omlab_cite.weights import recognise

TINY = VitConfig(size=32, patch=8, width=64, depth=2, embed=32)


def vit(**prompts: Any) -> PromptedVit:
    torch.manual_seed(0)
    return PromptedVit(TINY, prompts=PromptConfig(**prompts) if prompts else None).eval()


def test_added_zeros_change_nothing_and_prepended_ones_do() -> None:
    image = torch.randn(2, 3, 32, 32)
    plain = vit()(image)
    assert torch.allclose(vit(init="zero", mode="add", length=3)(image), plain, atol=1e-6)
    assert not torch.allclose(vit(init="zero", length=3)(image), plain, atol=1e-4)


def test_prompts_of_deep_layers_replace_those_before() -> None:
    network = vit(init="normal", length=2, layers=2)
    tokens = network.model.tokens(torch.randn(1, 3, 32, 32))
    first = network.prompted(tokens, layer=0)
    second = network.prompted(first, layer=1)
    assert first.shape == second.shape == (1, 1 + 2 + 16, 64)
    assert network.prompt is not None
    assert torch.equal(second[0, 1:3], network.prompt[1])
    assert torch.equal(second[:, 3:], tokens[:, 1:])


def test_added_prompts_leave_the_rest_alone() -> None:
    network = vit(init="normal", length=5, mode="add")
    tokens = network.model.tokens(torch.randn(1, 3, 32, 32))
    added = network.prompted(tokens, layer=0) - tokens
    assert network.prompt is not None
    assert torch.allclose(added[0, 1:16], network.prompt[0].repeat(3, 1), atol=1e-6)
    assert not added[0, [0, 16]].any()


def test_a_prompt_begins_at_the_mean_token_of_the_first_training_batch_alone() -> None:
    network = vit(init="token")
    network.start_with_first_batch()
    image = torch.randn(2, 3, 32, 32)
    network(image)
    assert network.prompt is not None
    assert not network.prompt.any()
    network.train()(image)
    mean = network.model.tokens(image).mean(dim=(0, 1))
    assert torch.allclose(network.prompt[0, 0], mean, atol=1e-6)
    again = vit(init="token")
    again.start_with_first_batch()
    again.load_state_dict(network.state_dict())
    again.train()(torch.randn(2, 3, 32, 32))
    assert again.prompt is not None
    assert torch.equal(again.prompt, network.prompt)


@pytest.mark.parametrize("wrong", [{"length": 0}, {"layers": 3}, {"mode": "add", "length": 17}, {"init": "ones"}])
def test_prompts_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        vit(**wrong)


def test_other_sizes_and_widths_are_refused() -> None:
    with pytest.raises(InputError, match="32 x 32 pixels"):
        vit()(torch.zeros(1, 3, 40, 40))
    network = Cite(vit(), text_width=None)
    with pytest.raises(UsageError, match="48 features cannot be compared with images of 32"):
        network.take_texts(torch.zeros(3, 48))
    with pytest.raises(UsageError, match="no texts"):
        network(torch.zeros(1, 3, 32, 32))


def test_logits_are_scaled_cosines() -> None:
    images, texts = torch.randn(4, 8), torch.randn(3, 8)
    found = cosine_logits(5 * images, texts, temperature=4.6052)
    cosines = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=-1)
    assert torch.allclose(found, math.exp(4.6052) * cosines, atol=1e-3)


def test_the_projection_begins_near_the_identity() -> None:
    neck = near_identity(6, 9, seed=1)
    assert (neck.weight - torch.eye(9, 6)).abs().max() < 0.1
    assert torch.equal(neck.weight, near_identity(6, 9, seed=1).weight)


def as_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A tower's tensors by the names that transformers gives them."""
    found = {}
    for key, value in state.items():
        name = key.removeprefix("backbone.model.")
        if name == "proj":
            found["visual_projection.weight"] = value.T.clone()
            continue
        for ours, theirs in (
            ("class_embedding", "embeddings.class_embedding"),
            ("conv1", "embeddings.patch_embedding"),
            ("positional_embedding", "embeddings.position_embedding.weight"),
            ("ln_pre", "pre_layrnorm"),
            ("ln_post", "post_layernorm"),
            ("transformer.resblocks", "encoder.layers"),
            ("ln_1", "layer_norm1"),
            ("ln_2", "layer_norm2"),
            ("c_fc", "fc1"),
            ("c_proj", "fc2"),
            ("attn.out_proj", "self_attn.out_proj"),
        ):
            name = name.replace(ours, theirs)
        if ".attn.in_proj_" in name:
            block, _, what = name.partition(".attn.in_proj_")
            parts = zip("qkv", value.chunk(3), strict=True)
            found |= {f"vision_model.{block}.self_attn.{letter}_proj.{what}": part.clone() for letter, part in parts}
        else:
            found[f"vision_model.{name}"] = value
    return found


def test_three_forms_of_checkpoints_are_the_same_network() -> None:
    network = Cite(vit(), text_width=None)
    state = dict(network.state_dict())
    beside = {"logit_scale": torch.tensor(4.5), "text_projection": torch.zeros(2), "transformer.x": torch.zeros(1)}
    clip = {key.replace("backbone.model.", "visual."): value for key, value in state.items()} | beside
    hugging = as_transformers(state) | {"logit_scale": torch.tensor(4.5), "text_model.x": torch.zeros(1)}
    bare = {key.removeprefix("backbone.model."): value for key, value in state.items()}
    for form in (state, clip, hugging, bare):
        found = recognise(form, source="file")
        assert found.config == TINY
        assert found.state.keys() == state.keys()
        assert all(torch.equal(found.state[key], state[key]) for key in state)
    assert recognise(clip, source="file").temperature == 4.5
    with pytest.raises(WeightsError, match="no image tower"):
        recognise({"fc.weight": torch.zeros(2, 2)}, source="file")


def test_a_tower_is_that_of_transformers() -> None:
    """The same numbers as transformers' CLIP vision model gives with the same weights."""
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=64, intermediate_size=256, projection_dim=32, num_hidden_layers=2, num_attention_heads=1,
        image_size=32, patch_size=8,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = CLIPVisionModelWithProjection(config).eval()
    found = recognise(theirs.state_dict(), source="transformers")
    ours = PromptedVit(found.config).eval()
    ours.load_state_dict({key.removeprefix("backbone."): value for key, value in found.state.items()})
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(ours(image), theirs(pixel_values=image).image_embeds, atol=1e-5)
