"""The verb `score` beside log-probabilities computed the long way."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import omlab
from omlab.errors import InputError
from omlab_text.chat import Turn, ask
from omlab_text.chat_format import layout
from omlab_text.local import LocalBackend
from omlab_text.options import Likelihoods, Options
from omlab_text.scoring import ScoringModel
from omlab_text.tiny import tiny_network, tiny_tokenizer
from omlab_text.tokens import TransformersTokenizer

FAMILIES = pytest.mark.parametrize("family", ["bloom", "llama"])
FEVER = ask("What is fever?", system="You are brief.")
OPTIONS = Options(texts=("See a doctor", "发烧", "A"))


@cache
def parts(family):
    tokenizer = TransformersTokenizer(tiny_tokenizer(family))
    return tiny_network(family, words=len(tokenizer.given)), tokenizer


def model(family, *, format="chatml", **more):
    network, tokenizer = parts(family)
    return ScoringModel(LocalBackend(network, tokenizer, layout(format).on(tokenizer), name=family, **more))


def scored(model, *cases):
    return list(model.score([model.prepare("score", case) for case in cases]))


def the_long_way(family, ids, begin, end):
    """One token after the other, each with a pass of its own."""
    network, _ = parts(family)
    with torch.inference_mode():
        found = [network(torch.tensor([ids[:n]])).logits[0, -1].log_softmax(0)[ids[n]] for n in range(begin, end)]
    return float(sum(found))


@FAMILIES
def test_options_are_scored_as_the_next_answer_without_what_ends_it(family):
    (found,) = scored(model(family), {"chat": FEVER, "options": OPTIONS})
    assert found.texts == OPTIONS.texts
    _, tokenizer = parts(family)
    format = layout("chatml").on(tokenizer)
    prompt = format.encode(FEVER, prompt=True).ids
    for text, logprob, tokens in zip(found.texts, found.logprobs, found.tokens, strict=True):
        answer = tokenizer.ids(text)
        assert tokens == len(answer)
        ids = [*prompt, *answer]
        assert logprob == pytest.approx(the_long_way(family, ids, len(prompt), len(ids)), abs=1e-4)


def test_the_opener_that_a_model_writes_itself_is_no_part_of_an_option():
    (found,) = scored(model("bloom", format="pulse-v5"), {"chat": FEVER, "options": OPTIONS})
    _, tokenizer = parts("bloom")
    opener = layout("pulse-v5").openers["assistant"].text
    whole = [len(tokenizer.ids(opener + text)) for text in OPTIONS.texts]
    assert all(tokens < both for tokens, both in zip(found.tokens, whole, strict=True))


@FAMILIES
def test_a_bare_text_follows_the_token_that_begins_texts(family):
    text = "The patient has a fever."
    (found,) = scored(model(family), {"chat": ask(text)})
    _, tokenizer = parts(family)
    ids = [tokenizer.bos, *tokenizer.ids(text)]
    assert (found.texts, found.tokens) == ((text,), (len(ids) - 1,))
    assert found.logprobs[0] == pytest.approx(the_long_way(family, ids, 1, len(ids)), abs=1e-4)


@FAMILIES
def test_each_answer_of_a_chat_counts_after_all_before_it(family):
    chat = FEVER.then(Turn(role="assistant", text="Heat.")).then(Turn(role="user", text="And cough?"))
    (whole,) = scored(model(family), {"chat": chat.then(Turn(role="assistant", text="See a doctor"))})
    (first,) = scored(model(family), {"chat": FEVER, "options": Options(texts=("Heat.", "Cold."))})
    (second,) = scored(model(family), {"chat": chat, "options": OPTIONS})
    assert whole.texts == ("Heat.", "See a doctor")
    assert whole.logprobs == pytest.approx((first.logprobs[0], second.logprobs[0]), abs=1e-4)


@FAMILIES
def test_a_batch_is_what_its_cases_are_alone(family):
    cases = [{"chat": FEVER, "options": OPTIONS}, {"chat": ask("x")}, {"chat": ask("A much longer note. " * 5)}]
    together = scored(model(family, rows=3), *cases)
    for case, found in zip(cases, together, strict=True):
        (alone,) = scored(model(family, rows=1), case)
        assert alone.logprobs == pytest.approx(found.logprobs, abs=1e-4)


def test_a_text_longer_than_the_room_is_read_in_overlapping_windows():
    text = "The patient has a fever and a cough. " * 4
    (found,) = scored(model("bloom", context=16), {"chat": ask(text)})
    _, tokenizer = parts("bloom")
    ids = [tokenizer.bos, *tokenizer.ids(text)]
    assert found.tokens == (len(ids) - 1,)
    wanted = the_long_way("bloom", ids[:16], 1, 16)
    for begin in range(16, len(ids), 8):
        window = ids[begin - 8 : begin + 8]
        wanted += the_long_way("bloom", window, 8, len(window))
    assert found.logprobs[0] == pytest.approx(wanted, abs=1e-3)


def test_what_has_nothing_to_score_is_told():
    answered = FEVER.then(Turn(role="assistant", text="Heat."))
    with pytest.raises(InputError, match="nothing to answer"):
        model("bloom").prepare("score", {"chat": answered, "options": OPTIONS})
    with pytest.raises(InputError, match="no token that could be predicted"):
        model("bloom").prepare("score", {"chat": FEVER.then(Turn(role="assistant", text=""))})


@settings(max_examples=30)
@given(st.integers(2, 26), st.data())
def test_a_rotation_keeps_the_right_option(count, data):
    options = Options(texts=tuple(map(str, range(count))), answer=data.draw(st.integers(0, count - 1)))
    by = data.draw(st.integers(0, count - 1))
    turned = options.rotated(by)
    assert turned.texts[turned.answer] == options.texts[options.answer]
    assert turned.texts[0] == options.texts[by]


def test_likelihoods_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="do not belong together"):
        Likelihoods(texts=("x",), logprobs=(-1.0, -2.0), tokens=(1,))
    with pytest.raises(InputError, match="not above 0"):
        Likelihoods(texts=("x",), logprobs=(0.5,), tokens=(1,))


def test_a_loaded_model_scores():
    session = omlab.load_model("causal-lm.untrained", device="cpu")
    found = session.score(chat=FEVER, options=OPTIONS)
    assert max(found.logprobs) < 0
