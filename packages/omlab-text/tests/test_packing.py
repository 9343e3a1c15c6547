"""Rows of several documents give the hidden states, losses and gradients of each document alone."""

import numpy as np
import pytest
import torch

from omlab.errors import SettingsError
from omlab_text.bloom import lean_attention
from omlab_text.recipes.rows import rows_of
from omlab_text.recipes.token_store import Tokens
from omlab_text.tiny import tiny_network
from omlab_text.training.packing import check_packing, packed_hidden, positions_of
from omlab_text.training.supervised import TargetNetwork

WORDS = 120


def network(family):
    found = tiny_network(family.removesuffix("-lean"), words=WORDS)
    if family == "bloom-lean":
        lean_attention(found)
    return found


def piece(length, *, seed):
    ids = np.random.default_rng(seed).integers(4, WORDS, length).astype(np.int32)
    return Tokens(ids=ids, learnt=np.arange(length) != 2)


PIECES = [piece(length, seed=length) for length in (5, 9, 3, 12)]
PACKED, ALONE = rows_of([PIECES[:3], PIECES[3:]]), rows_of([[one] for one in PIECES])


def test_positions_begin_anew_with_each_document():
    documents = torch.tensor([[1, 1, 1, 2, 2, 3, 0, 0]])
    assert positions_of(documents).tolist() == [[0, 1, 2, 0, 1, 0, 0, 1]]


@pytest.mark.parametrize("family", ["bloom", "bloom-lean", "llama"])
def test_loss_and_gradients_of_packed_documents_are_those_of_each_alone(family):
    found = []
    for is_packed, batch in ((True, PACKED), (False, ALONE)):
        trained = network(family)
        logp = TargetNetwork(trained, is_packed=is_packed)(**batch)
        logp.sum().backward()
        found.append([logp.sum(), *(one.grad for one in trained.parameters())])
    for packed, alone in zip(*found, strict=True):
        torch.testing.assert_close(packed, alone, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["bloom", "bloom-lean", "llama"])
def test_what_another_document_says_changes_nothing(family):
    trained, other = network(family), dict(PACKED)
    other["ids"] = other["ids"].clone()
    other["ids"][0, :5] = 7
    with torch.no_grad():
        before, after = (packed_hidden(trained, each["ids"], each["documents"]) for each in (PACKED, other))
    torch.testing.assert_close(before[0, 5:], after[0, 5:], atol=1e-5, rtol=0)
    assert not torch.allclose(before[0, :5], after[0, :5])


def test_a_network_that_lets_documents_see_each_other_is_refused():
    trained = network("llama")
    check_packing(trained)
    plain = trained.model.forward
    trained.model.forward = lambda input_ids, position_ids=None, use_cache=False: plain(input_ids=input_ids)
    with pytest.raises(SettingsError, match="LlamaForCausalLM lets documents of one row see each other: train with"):
        check_packing(trained)
