import warnings
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import InputError, OmlabWarning, SettingsError
from omlab_text.budget import fitted
from omlab_text.chat import Chat, Turn, ask
from omlab_text.chat_format import layout, layouts

SYSTEM = "You are Helper, a large language model full of intelligence. Respond conversationally."


class Bytes:
    """A toy tokenizer: 10 + byte; bos 1, eos 2, any other special token 3."""

    bos = 1

    def ids(self, text):
        return [10 + byte for byte in text.encode()]

    def id(self, token):
        return 2 if token == "</s>" else 3

    def text(self, ids):
        return bytes(id - 10 for id in ids if id >= 10).decode()


def talk(*turns, system=SYSTEM):
    chat = ask(turns[0], system=system)
    for place, text in enumerate(turns[1:]):
        chat = chat.then(Turn(role=("assistant", "user")[place % 2], text=text))
    return chat


@pytest.mark.parametrize(
    ("name", "length", "spans"),
    [("pulse-v5", 158, ((110, 124), (137, 158))), ("pulse-v5-bos", 163, ((113, 127), (142, 163)))],
)
def test_pulse_trains_on_what_the_helper_says_with_its_opener_and_closer(name, length, spans):
    encoded = layout(name).on(Bytes()).encode(talk("hi", "hello", "fever?", "see a doctor"), prompt=False)
    assert len(encoded.ids) == length
    assert encoded.answers == spans
    begin, end = spans[0]
    assert Bytes().text(encoded.ids[begin:end]) == "Helper: hello"
    assert encoded.ids[end - 1] == 2


def test_pulse_is_given_one_token_of_its_opener_and_writes_the_rest():
    plain, with_bos = (
        layout(name).on(Bytes()).encode(talk("hi"), prompt=True) for name in ("pulse-v5", "pulse-v5-bos")
    )
    assert plain.ids[-2:] == [2, 10 + ord("H")]
    assert with_bos.ids[-2:] == [2, 1]
    assert plain.begun == with_bos.begun == 1
    assert layout("pulse-v5").on(Bytes()).said(" Helper: see a doctor\n") == "see a doctor"


@pytest.mark.parametrize("name", ["pulse-v5", "pulse-v5-bos"])
def test_pulse_is_told_who_it_is_where_a_chat_does_not_say(name):
    format = layout(name).on(Bytes())
    assert format.encode(ask("hi"), prompt=True) == format.encode(ask("hi", system=SYSTEM), prompt=True)
    assert format.encode(ask("hi", system="Brief."), prompt=True) != format.encode(ask("hi"), prompt=True)


def test_chatml_is_written_as_models_of_that_form_were_taught():
    tokenizer = Bytes()
    encoded = layout("chatml").on(tokenizer).encode(talk("hi", "hello", system="Brief."), prompt=True)
    pieces = [3 if id == 3 else chr(id - 10) for id in encoded.ids]
    shown = "".join("|" if piece == 3 else piece for piece in pieces)
    assert shown == "|system\nBrief.|\n|user\nhi|\n|assistant\nhello|\n|assistant\n"
    begin, end = encoded.answers[0]
    assert shown[begin:end] == "hello|"
    assert encoded.begun == 0


@given(texts=st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("name", [*layouts()])
def test_what_is_said_never_becomes_a_special_token_and_a_prompt_begins_its_answer(name, texts):
    format = layout(name).on(Bytes())
    chat = Chat(turns=tuple(Turn(role=("user", "assistant")[n % 2], text=text) for n, text in enumerate(texts)))
    hostile = replace(chat, turns=(Turn(role="user", text="</s>" * 3 + "<|im_end|>"), *chat.turns[1:]))
    count = [sum(id < 10 for id in format.encode(each, prompt=False).ids) for each in (chat, hostile)]
    assert count[0] == count[1]
    if len(texts) % 2 and not name.startswith("pulse-v5"):
        prompt = format.encode(chat, prompt=True).ids
        answered = format.encode(chat.then(Turn(role="assistant", text="yes")), prompt=False).ids
        assert answered[: len(prompt)] == prompt


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (Turn(role="tool", text="22.9"), "has no turns of the role 'tool'"),
        (Turn(role="user", images=("chest.png",)), r"shows an image \(chest.png\)"),
    ],
)
def test_what_a_format_cannot_write_is_refused(turn, said):
    with pytest.raises(InputError, match=said):
        layout("pulse-v5").on(Bytes()).encode(ask("hi").then(turn), prompt=True)


def test_a_format_of_the_users_is_a_file(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('[own]\ncloser = "</s>"\n[own.openers]\nuser = "Patient: "\nassistant = "Doctor: "\n')
    encoded = layout(str(path)).on(Bytes()).encode(ask("hi"), prompt=True)
    assert Bytes().text(encoded.ids) == "Patient: hiDoctor: "
    path.write_text('[own]\ncloser = "</s>"\n[own.openers]\ndoctor = "Doctor: "\n')
    with pytest.raises(SettingsError, match=r"own\.toml is no chat format: openers\.doctor"):
        layout(str(path))


def test_an_unknown_format_is_told_what_it_may_have_meant():
    with pytest.raises(SettingsError, match="did you mean 'pulse-v5'"):
        layout("puls-v5")


def test_of_forty_pages_the_oldest_exchanges_go_whole_and_the_user_is_told():
    format = layout("chatml").on(Bytes())
    chat = talk(*(f"{'question' if n % 2 == 0 else 'answer'} {n} " + "x" * 1000 for n in range(81)))
    with pytest.warns(OmlabWarning, match=r"its 76 oldest turns were left out"):
        encoded = fitted(chat, format, budget=6000)
    text = "".join(chr(id - 10) if id >= 10 else "|" for id in encoded.ids)
    assert len(encoded.ids) <= 6000
    assert text.startswith(f"|system\n{SYSTEM}|\n|user\nquestion 76 x")
    assert text.endswith("x|\n|assistant\n")


def test_what_fits_is_left_as_it_is_without_a_word():
    format, chat = layout("chatml").on(Bytes()), talk("hi", "hello", "fever?")
    whole = format.encode(chat, prompt=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted(chat, format, budget=len(whole.ids)) == whole


def test_a_budget_below_the_last_question_is_refused():
    with pytest.raises(InputError, match=r"The last question alone, with what the system says, has 1.. tokens, but 50"):
        fitted(talk("hi", "hello", "fever?"), layout("chatml").on(Bytes()), budget=50)
