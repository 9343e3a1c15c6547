"""BLOOM with the lean attention is transformers' BLOOM: padded, kept, of one size, trained, saved."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig, StaticCache

from omlab_text.bloom import LeanAttention, lean_attention
from omlab_text.tiny import tiny_network

IDS = torch.randint(5, 90, (3, 12), generator=torch.Generator().manual_seed(0))
BEFORE = torch.tensor([[0] * 5 + [1] * 7, [1] * 12, [0] * 11 + [1]])
"""Padded in front."""


@pytest.fixture
def both():
    theirs = tiny_network("bloom", words=100)
    ours = copy.deepcopy(theirs)
    lean_attention(ours)
    assert all(isinstance(block.self_attention, LeanAttention) for block in ours.transformer.h)
    return ours, theirs


@pytest.mark.parametrize("mask", [None, BEFORE, BEFORE.flip(1)], ids=["no mask", "padded before", "padded behind"])
def test_logits_and_gradients_are_those_of_transformers(both, mask):
    found = []
    for network in both:
        logits = network(IDS, attention_mask=mask).logits
        logits = logits if mask is None else logits * mask[..., None]
        logits.square().mean().backward()
        found.append([logits, *(each.grad for each in network.parameters())])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [None, 20], ids=["dynamic", "static"])
@pytest.mark.parametrize("mask", [torch.ones_like(BEFORE), BEFORE], ids=["whole", "padded"])
def test_kept_keys_serve_one_token_and_several(both, mask, size):
    """5 tokens, then 6 at once, then one."""
    found = []
    for network in both:
        cache = StaticCache(config=network.config, max_cache_len=size) if size else DynamicCache(config=network.config)
        parts = []
        for first, last in ((0, 5), (5, 11), (11, 12)):
            seen = mask[:, :last]
            if size:
                seen = torch.nn.functional.pad(seen, (0, size - last))
            with torch.inference_mode():
                parts.append(network(IDS[:, first:last], attention_mask=seen, past_key_values=cache).logits)
        found.append(torch.cat(parts, dim=1) * mask[..., None])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_padded_batch_is_written_on_as_transformers_does(both, cache):
    how = GenerationConfig(max_new_tokens=6, do_sample=False, cache_implementation=cache if cache == "static" else None)
    ours, theirs = (one.generate(IDS[:2], attention_mask=BEFORE[:2], generation_config=how) for one in both)
    assert ours.tolist() == theirs.tolist()


def test_in_bfloat16_it_is_as_near_as_transformers(both):
    ours, theirs = both
    with torch.inference_mode():
        exact = theirs(IDS).logits
        wanted = theirs.bfloat16()(IDS).logits
        found = ours.bfloat16()(IDS).logits
    assert (found.float() - exact).abs().max() < 1.5 * (wanted.float() - exact).abs().max()


def test_what_is_saved_is_transformers_own(both, tmp_path):
    ours, theirs = both
    ours.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not isinstance(again.transformer.h[0].self_attention, LeanAttention)
    torch.testing.assert_close(again.state_dict(), theirs.state_dict())
    fresh = AutoModelForCausalLM.from_config(ours.config)
    assert fresh(IDS).logits.shape == (3, 12, 100)


def test_another_network_is_left_as_it_is():
    network = tiny_network("llama", words=50)
    before = {name: type(module) for name, module in network.named_modules()}
    lean_attention(network)
    assert {name: type(module) for name, module in network.named_modules()} == before
