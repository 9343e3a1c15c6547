import json
import re
from functools import cache

import pytest
import torch

import omlab
from omlab.errors import InputError, OmlabError, SettingsError
from omlab.roles import Delta
from omlab_text.chat import ask
from omlab_text.chat_format import layout
from omlab_text.chat_model import ChatModel
from omlab_text.local import LocalBackend
from omlab_text.sampling import Sampling
from omlab_text.tiny import tiny_network, tiny_tokenizer
from omlab_text.tokens import TransformersTokenizer

FAMILIES = pytest.mark.parametrize("family", ["bloom", "llama"])
QUESTIONS = ("What is fever?", "cough", "发烧怎么办", "The patient has a fever and a cough. What now?")
DRAWN = Sampling(max_tokens=12, temperature=1.0, top_k=40, top_p=0.95, seed=3)
VARIED = Sampling(max_tokens=8, temperature=1.0, repetition_penalty=1.5, seed=3)
PATIENT = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "red_flags": {"type": "array", "items": {"enum": ["chest pain", "syncope"]}},
        "refer": {"type": "boolean"},
    },
    "required": ["name", "age", "red_flags", "refer"],
    "additionalProperties": False,
}


@cache
def parts(family):
    tokenizer = TransformersTokenizer(tiny_tokenizer(family))
    return tiny_network(family, words=len(tokenizer.given)), tokenizer


def backend(family, *, format="chatml", **more):
    network, tokenizer = parts(family)
    return LocalBackend(network, tokenizer, layout(format).on(tokenizer), name=family, **more)


def answers(backend, sampling, questions=QUESTIONS):
    return list(backend.answer([backend.prepare(ask(text), sampling) for text in questions], sampling))


@FAMILIES
@pytest.mark.parametrize("sampling", [Sampling(max_tokens=12), DRAWN, VARIED], ids=["greedy", "drawn", "varied"])
def test_a_batch_a_single_a_stream_and_no_cache_are_one_answer(family, sampling):
    together = answers(backend(family, rows=3), sampling)
    assert answers(backend(family, rows=1), sampling) == together
    assert answers(backend(family, cache="none"), sampling) == together
    for text, answer in zip(QUESTIONS, together, strict=True):
        model = backend(family)
        *pieces, last = model.stream(model.prepare(ask(text), sampling), sampling)
        assert last == answer
        broken = "\ufffd" in answer.turn.text  # random bytes, which a tokenizer decodes otherwise as more come
        assert broken or "".join(pieces) == answer.turn.text


@FAMILIES
def test_the_pieces_of_a_stream_are_the_answer(family):
    model, sampling = backend(family), Sampling(max_tokens=160, temperature=1.0, schema=json.dumps(PATIENT))
    *pieces, last = model.stream(model.prepare(ask("Who?"), sampling), sampling)
    assert len(pieces) > 5
    assert "".join(pieces) == last.turn.text


@FAMILIES
def test_greedy_answers_are_those_of_the_logits(family):
    network, tokenizer = parts(family)
    model = backend(family)
    prompt = model.prepare(ask("cough"), Sampling(max_tokens=5))
    ids = list(prompt.ids)
    with torch.inference_mode():
        for _ in range(5):
            ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
    assert answers(model, Sampling(max_tokens=5), ["cough"])[0].turn.text == tokenizer.text(ids[-5:]).strip()


def test_log_probabilities_are_the_models_own_whatever_is_drawn():
    network, _ = parts("bloom")
    sampling = Sampling(max_tokens=6, temperature=2.0, top_k=5, logprobs=True)
    model = backend("bloom")
    prompt = model.prepare(ask("cough"), sampling)
    written = model._written([prompt], sampling)[0]
    with torch.inference_mode():
        logits = network(torch.tensor([[*prompt.ids, *written.ids]])).logits[0]
    wanted = torch.log_softmax(logits, dim=-1)[len(prompt.ids) - 1 :].gather(1, torch.tensor(written.ids)[:, None])
    assert written.logprobs == pytest.approx(wanted[:, 0].tolist(), abs=1e-4)


def test_seeds_draw_otherwise_and_the_same_again():
    model = backend("llama")
    drawn = [answers(model, Sampling(max_tokens=8, temperature=1.0, seed=seed)) for seed in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]


@FAMILIES
def test_an_answer_ends_before_a_stop_text(family):
    model = backend(family)
    whole = answers(model, Sampling(max_tokens=30), ["cough"])[0].turn.text
    stop = whole[len(whole) // 2 :][:2]
    sampling = Sampling(max_tokens=30, stop=[stop])
    cut = answers(model, sampling, ["cough"])[0]
    assert cut.turn.text == whole.split(stop)[0].strip()
    assert cut.made.end == "stop"
    assert cut.made.tokens_out < 30
    *pieces, last = model.stream(model.prepare(ask("cough"), sampling), sampling)
    assert "".join(pieces) == last.turn.text == cut.turn.text


def test_the_opener_that_pulse_writes_itself_is_no_part_of_its_answer():
    model = backend("bloom", format="pulse-v5")
    prompt = model.prepare(ask("cough"), Sampling())
    opener = model.tokenizer.ids("Helper: see a doctor")
    assert prompt.begun == 1
    assert model._text(prompt, opener[1:]) == "see a doctor"


def check_patient(answer):
    found = json.loads(answer.turn.text)
    assert set(found) == {"name", "age", "red_flags", "refer"}
    assert isinstance(found["age"], int)
    assert set(found["red_flags"]) <= {"chest pain", "syncope"}


@FAMILIES
def test_json_by_a_schema_is_valid_whatever_is_drawn(family):
    sampling = Sampling(max_tokens=128, temperature=1.0, schema=json.dumps(PATIENT))
    for answer in answers(backend(family, rows=16), sampling, [f"Who is number {n}?" for n in range(16)]):
        check_patient(answer)


@pytest.mark.slow
@FAMILIES
def test_json_by_a_schema_is_valid_for_a_hundred_seeds(family):
    model = backend(family)
    for seed in range(100):
        sampling = Sampling(max_tokens=160, temperature=1.0, seed=seed, schema=json.dumps(PATIENT))
        check_patient(answers(model, sampling, ["Who?"])[0])


def test_patterns_and_grammars_hold_in_a_batch():
    model = backend("bloom")
    for answer in answers(model, Sampling(max_tokens=20, temperature=1.0, regex="[A-D]")):
        assert re.fullmatch("[A-D]", answer.turn.text)
    for answer in answers(model, Sampling(max_tokens=20, temperature=1.0, grammar='root ::= "yes" | "no"')):
        assert answer.turn.text in ("yes", "no")


def test_a_form_that_does_not_fit_into_the_tokens_fails_its_case():
    found = answers(backend("bloom"), Sampling(max_tokens=3, schema=json.dumps(PATIENT)), ["Who?"])[0]
    assert isinstance(found, InputError)
    assert "max_tokens=3" in str(found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"schema": "{"}, "The schema is not JSON"),
        ({"schema": "nowhere.json"}, "nowhere.json cannot be read: No such file"),
        ({"schema": "{}", "regex": "a"}, "give schema or regex, not both"),
        ({"regex": "["}, "The regex cannot be used"),
        ({"grammar": "root = "}, "The grammar cannot be used"),
        ({"max_tokens": 5000}, "leaves no room for a question: 'llama' has 2048 tokens"),
    ],
)
def test_wrong_options_are_told(given, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        backend("llama").prepare(ask("cough"), Sampling(**given))


def test_a_session_streams_and_can_be_closed():
    session = omlab.load_model("causal-lm.untrained", device="cpu")
    stream = session.stream("generate", {"chat": ask("cough")}, max_tokens=200)
    assert isinstance(next(stream), Delta)
    stream.close()
    assert session.generate(ask("cough"), max_tokens=3).turns[-1].role == "assistant"


def test_a_preset_goes_before_the_first_question_but_not_into_the_chat():
    asked = []

    class Echo:
        name = "echo"

        def prepare(self, chat, sampling):
            asked.append(chat.turns[0].text)
            return chat

    model = ChatModel(Echo(), presets={"brief": "Answer briefly."})
    assert model.prepare("generate", {"chat": ask("Fever?")}, preset="brief").chat == ask("Fever?")
    assert asked == ["Answer briefly.\nFever?"]
    with pytest.raises(SettingsError, match="did you mean 'brief'"):
        model.prepare("generate", {"chat": ask("Fever?")}, preset="brif")


def test_nothing_to_answer_is_said():
    session = omlab.load_model("causal-lm.untrained", device="cpu")
    with pytest.raises(OmlabError, match="nothing to answer"):
        session.generate(ask("Well?").then(ask("x").turns[0]).then(_assistant()))


def _assistant():
    from omlab_text.chat import Turn

    return Turn(role="assistant", text="Done.")
