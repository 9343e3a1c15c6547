"""What is learnt from chats: the assistant's words alone, with the loss that transformers itself would give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omlab.errors import InputError, SettingsError
from omlab_text.chat import Turn, ask
from omlab_text.chat_format import layout
from omlab_text.local import LocalBackend
from omlab_text.recipes.rows import rows_of
from omlab_text.recipes.token_store import Tokens
from omlab_text.sampling import Sampling
from omlab_text.tiny import tiny_network, tiny_tokenizer
from omlab_text.tokens import TransformersTokenizer
from omlab_text.training.supervised import IGNORED, TargetNetwork, targets_of, trained_texts

FAMILIES = pytest.mark.parametrize("family", ["bloom", "llama"])


def said(text):
    return Turn(role="assistant", text=text)


TALK = ask("Fever?").then(said("Rest.")).then(Turn(role="user", text="And?")).then(said("Drink water."))
SHORT = ask("Cough?").then(said("No."))


def parts(family):
    tokenizer = TransformersTokenizer(tiny_tokenizer(family))
    network = tiny_network(family, words=len(tokenizer.given))
    return network, tokenizer, layout("chatml").on(tokenizer)


def batch_of(format, *chats):
    """The chats as a recipe's batch."""
    rows = []
    for chat in chats:
        encoded = format.encode(chat, prompt=False)
        learnt = np.array([False, *(target != IGNORED for target in targets_of(encoded)[:-1])])
        rows.append([Tokens(ids=np.array(encoded.ids, np.int32), learnt=learnt)])
    return rows_of(rows)


def loss_of(network, batch):
    """The mean over what is to be learnt."""
    logp = TargetNetwork(network)(**batch)
    return -logp.sum() / (batch["targets"] != IGNORED).sum()


@FAMILIES
def test_the_trained_texts_are_the_answers_and_what_ends_them(family):
    _, tokenizer, format = parts(family)
    texts = trained_texts(format.encode(TALK, prompt=False), tokenizer)
    assert [text.strip() for text in texts] == ["Rest.<|im_end|>", "Drink water.<|im_end|>"]


def test_a_target_is_the_next_token():
    _, _, format = parts("bloom")
    chat = format.encode(TALK, prompt=False)
    for place, target in enumerate(targets_of(chat)):
        is_said = any(begin <= place + 1 < end for begin, end in chat.answers)
        assert target == (chat.ids[place + 1] if is_said else IGNORED)


def test_a_chat_without_an_answer_is_told():
    _, _, format = parts("bloom")
    with pytest.raises(InputError, match="no answer of the assistant"):
        targets_of(format.encode(ask("Fever?"), prompt=False))


@FAMILIES
def test_loss_and_gradients_are_those_of_transformers(family):
    network, _, format = parts(family)
    batch = batch_of(format, TALK, SHORT)
    labels = torch.full_like(batch["ids"], IGNORED)
    labels[:, 1:] = batch["targets"][:, :-1]
    wanted = network(input_ids=batch["ids"], attention_mask=(batch["documents"] > 0).long(), labels=labels).loss
    loss = loss_of(network, batch)
    torch.testing.assert_close(loss, wanted)
    learnt = list(network.parameters())
    for ours, theirs in zip(torch.autograd.grad(loss, learnt), torch.autograd.grad(wanted, learnt), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@FAMILIES
def test_what_was_learnt_is_answered_and_ended(family):
    network, tokenizer, format = parts(family)
    batch = batch_of(format, TALK, SHORT)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        loss_of(network, batch).backward()
        optimizer.step()
    backend, sampling = LocalBackend(network, tokenizer, format, name="learnt"), Sampling(max_tokens=20)
    answer = next(backend.answer([backend.prepare(ask("Cough?"), sampling)], sampling))
    assert answer.turn.text == "No."
    assert answer.made.end == "stop"


def test_a_network_whose_logits_are_more_than_a_product_is_refused():
    network, _, _ = parts("llama")
    network.config.logits_scaling = 8.0
    with pytest.raises(SettingsError, match="LlamaForCausalLM makes its logits with logits_scaling"):
        TargetNetwork(network)
    network.config.logits_scaling = 1.0
    network.lm_head = torch.nn.Linear(32, 8)
    with pytest.raises(SettingsError, match="a layer of its own kind"):
        TargetNetwork(network)
