"""Rotary positions beyond the trained length."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from omlab_pulse.rope import DynamicRotary, ntk_theta, parameters, rotary

TRAINED = 16


def config(**rope) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=64,
        num_attention_heads=4,
        max_position_embeddings=TRAINED,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0} | rope,
    )


def angles(module, *lengths):
    """What a batch of texts gets at its last token, each by its own length."""
    positions = torch.stack([torch.arange(max(lengths)).clamp(max=length - 1) for length in lengths])
    return torch.stack(module(torch.ones(1), positions))[:, :, -1]


@pytest.mark.parametrize(("alpha", "theta"), [(1, 10000), (2, 20221.26), (4, 40889.94), (8, 82684.62), (16, 167198.7)])
def test_theta_is_the_published_one(alpha, theta):
    assert ntk_theta(10000.0, dim=128, alpha=float(alpha)) == pytest.approx(theta, rel=1e-6)


def test_static_scaling_keeps_the_highest_frequency_and_divides_the_lowest():
    plain = config()
    scaled = config(**parameters(plain, rope="static", factor=4))
    before, after = LlamaRotaryEmbedding(plain).inv_freq, rotary(scaled).inv_freq
    assert after[0] == before[0]
    assert after[-1] == pytest.approx(before[-1] / 4)


@pytest.mark.parametrize("length", [1, TRAINED, TRAINED + 1, 50])
@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_dynamic_scaling_is_that_of_transformers_for_one_first_text(length, factor):
    dynamic = config(rope_type="dynamic", factor=factor)
    positions = torch.arange(length)[None]
    wanted = LlamaRotaryEmbedding(dynamic)(torch.ones(1), positions)
    torch.testing.assert_close(rotary(dynamic)(torch.ones(1), positions), wanted, atol=2e-6, rtol=0)


def test_dynamic_angles_are_those_of_each_text_whatever_is_beside_or_before_it():
    module = rotary(config(rope_type="dynamic", factor=2.0))
    assert isinstance(module, DynamicRotary)
    together = angles(module, 100, 20, 5)
    assert torch.equal(together, torch.cat([angles(module, length) for length in (100, 20, 5)], dim=1))


def test_another_scaling_replaces_the_stored_one():
    stored = config(rope_type="dynamic", factor=2.0)
    assert parameters(stored, rope="yarn", factor=4) == {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 4,
        "original_max_position_embeddings": TRAINED,
    }
