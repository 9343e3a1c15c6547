"""The network beside the ESM of transformers, packed beside padded, and scores beside their definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab.errors import InputError, UsageError
from omlab_protein.alphabet import INDEX, MASK, PAD, encode
from omlab_protein.network import Esm, EsmConfig, filled, packed, padded, untrained
from omlab_protein.scoring import log_probabilities, score
from omlab_protein.substitutions import all_single, mutated, parse
from omlab_protein.windows import spans, window_for, windows_for

TINY = EsmConfig(layers=2, width=32, heads=4, feed_forward=64)
WILD = "MQIFVKTLTGKTITLE"


def stirred(config: EsmConfig) -> Esm:
    """A network whose every parameter counts."""
    network = untrained(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return network


def reference(config: EsmConfig, network: Esm) -> Any:
    """The same network of transformers, with these weights."""
    transformers = pytest.importorskip("transformers")
    form = transformers.EsmConfig(
        vocab_size=33,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.feed_forward,
        layer_norm_eps=config.eps,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        position_embedding_type="rotary" if config.positions == "rotary" else "absolute",
        max_position_embeddings=config.max_tokens + 2,
        token_dropout=True,
        emb_layer_norm_before=config.first_norm,
        pad_token_id=PAD,
        mask_token_id=MASK,
        attn_implementation="eager",
    )
    model = transformers.EsmForMaskedLM(form).eval()
    found = model.load_state_dict(network.state_dict(), strict=False)
    assert not found.unexpected_keys
    left = [
        key
        for key in found.missing_keys
        if "contact_head" not in key and not key.endswith(("inv_freq", "position_ids"))
    ]
    assert not left
    return model


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("first_norm", [False, True])
@pytest.mark.parametrize("masks", [0, 3])
@pytest.mark.parametrize("padding", [0, 5])
def test_logits_are_those_of_transformers(positions: Any, first_norm: bool, masks: int, padding: int) -> None:
    config = EsmConfig(
        layers=2, width=64, heads=4, feed_forward=128, positions=positions, first_norm=first_norm, max_tokens=64
    )
    network = stirred(config)
    tokens = torch.randint(4, 24, (2, 20), generator=torch.Generator().manual_seed(0))
    tokens[:, 0], tokens[:, -1] = 0, 2
    tokens[1, 3 : 3 + masks] = MASK
    valid = torch.ones_like(tokens)
    if padding:
        tokens[1, -padding:], valid[1, -padding:] = PAD, 0
    with torch.inference_mode():
        theirs = reference(config, network)(input_ids=tokens, attention_mask=valid).logits
        block = network(*padded(tokens, valid)).view(2, 20, 33)
        rows = [row[keep.bool()].tolist() for row, keep in zip(tokens, valid, strict=True)]
        one_after_another = network(*packed(rows))
    assert_close = torch.testing.assert_close
    assert_close(block[valid.bool()], theirs[valid.bool()], atol=1e-4, rtol=0)
    assert_close(one_after_another, theirs[valid.bool()], atol=1e-4, rtol=0)


def by_hand(network: Esm, mutant: str, *, together: bool) -> float:
    total = 0.0
    sites = [one.position for one in parse(mutant)]
    for old, position, new in parse(mutant):
        tokens = encode(WILD)
        for site in sites if together else [position]:
            tokens[site] = MASK
        with torch.inference_mode():
            row: Tensor = network(*packed([tokens]))[position].log_softmax(-1)
        total += float(row[INDEX[new]] - row[INDEX[old]])
    return total


@pytest.mark.parametrize("together", [False, True])
def test_masked_marginals_are_their_definition(together: bool) -> None:
    network = stirred(TINY)
    mutants = ["WT", "Q2A", "K6R:T7S", "M1L", "K6A", "Q2A:K6R:E16D"]
    wanted = [by_hand(network, mutant, together=together) for mutant in mutants]
    rule: Any = "masked-together" if together else "masked"
    for tokens in (1, 40, 4096):
        assert score(network, WILD, mutants, rule=rule, tokens=tokens) == pytest.approx(wanted, abs=1e-5)


def test_wild_type_marginals_need_one_pass() -> None:
    network = stirred(TINY)
    table = log_probabilities(network, WILD)
    mutants = list(all_single(WILD))
    found = score(network, WILD, mutants)
    assert len(found) == 19 * len(WILD)
    assert found[0] == pytest.approx(float(table[1, INDEX["A"]] - table[1, INDEX["M"]]), abs=1e-6)
    both = score(network, WILD, ["Q2A:K6R"])[0]
    assert both == pytest.approx(score(network, WILD, ["Q2A", "K6R"]).sum(), abs=1e-6)


def test_a_network_without_a_mask_token_refuses_to_mask() -> None:
    network = stirred(EsmConfig(layers=1, width=32, heads=4, feed_forward=64, vocabulary=25, tied=False))
    assert encode("BUX", vocabulary=25) == [0, INDEX["X"], INDEX["X"], INDEX["X"], 2]
    assert len(score(network, "MBUZO", ["M1A"])) == 1
    with pytest.raises(UsageError, match="no mask token"):
        score(network, WILD, ["Q2A"], rule="masked")


def test_a_long_sequence_is_scored_in_windows_and_no_mutant_is_lost() -> None:
    network = stirred(TINY)
    letters = "ACDEFGHIKL" * 8
    mutants = ["A1C", "C2D:L10A", "A41C", "L80A"]
    found = score(network, letters, mutants, longest=16)
    assert (found != 0).all()
    assert found[0] == pytest.approx(score(network, letters[:16], ["A1C"])[0], abs=1e-5)
    assert found[3] == pytest.approx(score(network, letters[64:], ["L16A"])[0], abs=1e-5)
    with pytest.raises(InputError, match="do not fit into a window of 16"):
        score(network, letters, ["A1C:L80A"], longest=16)


@pytest.mark.parametrize(
    ("sites", "start", "kept"),
    [
        ([4, 11, 21], 0, [0, 1, 2]),
        ([101, 111, 151], 87, [0, 1, 2]),
        ([190, 195], 131, [0, 1]),
        ([6, 61, 71, 81, 91, 101, 191], 37, [1, 2, 3, 4, 5]),
    ],
)
def test_windows_follow_the_published_rule(sites: list[int], start: int, kept: list[int]) -> None:
    parsed = [parse(f"A{site}C") for site in sites]
    found = window_for(parsed, length=200, longest=64)
    assert (found.start, found.stop, list(found.kept)) == (start, start + 64, kept)
    assert sorted(n for one in windows_for(*spans(parsed), length=200, longest=64) for n in one.kept) == list(
        range(len(sites))
    )


@given(
    sites=st.lists(st.lists(st.integers(1, 60), min_size=0, max_size=2, unique=True), min_size=1, max_size=8),
    longest=st.integers(2, 60),
)
@settings(max_examples=40, deadline=None)
def test_windows_keep_every_mutant_whole(sites: list[list[int]], longest: int) -> None:
    parsed = [parse(":".join(f"A{site}C" for site in one) or "WT") for one in sites]
    fits = [one for one in parsed if not one or max(x.position for x in one) - min(x.position for x in one) < longest]
    windows = list(windows_for(*spans(fits), length=60, longest=longest))
    assert sorted(n for window in windows for n in window.kept) == list(range(len(fits)))
    for window in windows:
        assert 0 <= window.start < window.stop == min(window.start + longest, 60)
        assert all(window.start < x.position <= window.stop for n in window.kept for x in fits[n])


def test_the_mutated_sequence_has_the_new_residue() -> None:
    assert mutated(WILD, parse("Q2A"))[1] == "A"


def test_lists_of_sequences_hold_what_they_may() -> None:
    lengths = [[len(one) for one in part] for part in filled([[0] * n for n in (3, 3, 9, 1, 1)], most=6)]
    assert lengths == [[3, 3], [9], [1, 1]]
    assert list(filled([], most=6)) == []
