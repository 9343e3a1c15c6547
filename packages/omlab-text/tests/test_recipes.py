"""`omlab adapt` on local language models: they learn, and what they have become needs no folder but its own."""

import json
import shutil
import warnings

import pytest

import omlab
from omlab.errors import OmlabError, OmlabWarning
from omlab_text.chat import Chat, ask
from omlab_text.recipes.sft import SortedBatches
from omlab_text.tiny import save_tiny

ANSWERS = {"fever": "rest", "cough": "honey"}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QUICK = {"learning_rate": 0.01, "batch_size": 8, "longest": 64, "workers": 0}


def talk(n, *, answer=None):
    question = list(ANSWERS)[n % 2]
    turns = [{"role": "user", "content": f"{n} {question}?"}]
    answer = ANSWERS[question] if answer is None else answer
    return {"messages": [*turns, {"role": "assistant", "content": answer}], "split": "val" if n >= 16 else "train"}


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    lines(tmp_path / "sft.jsonl", [talk(n) for n in range(20)])
    return tmp_path


def adapt(place, family, *, recipe="sft", data="sft.jsonl", adapter="finetune", **settings):
    base = place / "base"
    if not base.exists():
        save_tiny(base, family, template=TEMPLATE)
    out = place / f"{recipe}-{adapter}"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", OmlabWarning)
        omlab.adapt(
            "causal-lm",
            f"chats:{data}",
            recipe=recipe,
            adapter=adapter,
            weights=base,
            device="cpu",
            output=out,
            settings={**QUICK, **settings},
        )
    return out, [str(one.message) for one in told]


def history(out):
    return json.loads((out / "history.json").read_text())


def answers(folder):
    session = omlab.load_model(folder, device="cpu")
    return {question: session.generate(ask(f"3 {question}?"), max_tokens=6).turns[-1].text for question in ANSWERS}


@pytest.mark.parametrize("family", [pytest.param("bloom", marks=pytest.mark.slow), "llama"])
def test_a_model_that_was_tuned_answers_so_from_its_folder_alone(place, family):
    out, told = adapt(place, family, epochs=16)
    rows = history(out)
    assert rows[-1]["val_loss"] < 0.5 * rows[0]["val_loss"]
    shutil.rmtree(place / "base")
    moved = (place / "sft-finetune").rename(place / "elsewhere")
    assert answers(moved) == ANSWERS
    assert any("'000001') this is learnt: rest</s>" in sentence for sentence in told)
    log = (moved / "cases.jsonl").read_text()
    assert "this is learnt" in log


@pytest.mark.parametrize("family", ["bloom", "llama"])
def test_lora_leaves_the_base_as_it_is_and_keeps_little(place, family):
    out, _ = adapt(place, family, adapter="lora", epochs=4, rank=2)
    rows = history(out)
    assert rows[-1]["loss"] < rows[0]["loss"]
    small, whole = (out / "weights.safetensors").stat().st_size, (place / "base/model.safetensors").stat().st_size
    assert small < whole / 4
    config = json.loads((out / "adapted.json").read_text())["config"]
    assert not any("lm_head" in name for name in config["layers"])
    scored = omlab.load_model(out, device="cpu").score(chat=talk_chat(0))
    base = omlab.load_model("causal-lm", weights=place / "base", device="cpu").score(chat=talk_chat(0))
    assert scored.logprobs[0] > base.logprobs[0]


def talk_chat(n):
    return Chat.from_value(talk(n))


def test_an_adapted_model_can_be_adapted_again(place):
    first, _ = adapt(place, "llama", epochs=1)
    with pytest.warns(OmlabWarning, match="this is learnt"):
        omlab.adapt(
            first, "chats:sft.jsonl", recipe="sft", adapter="lora", device="cpu", output=place / "two", settings=QUICK
        )
    assert omlab.load_model(place / "two", device="cpu").model.backend.name == "base+sft+sft"


def test_what_is_too_long_is_cut_and_told(place):
    lines(place / "long.jsonl", [talk(0), talk(1, answer="honey " * 40), {**talk(3), "messages": long_question()}])
    _, told = adapt(place, "llama", data="long.jsonl", epochs=1, **{"data.val": 0.0})
    said = "Of 3 chats 2 have more than 64 tokens: their ends are cut off, and 1 of them, without an answer by then"
    assert any(said in sentence for sentence in told)


def long_question():
    return [{"role": "user", "content": "cough " * 60}, {"role": "assistant", "content": "honey"}]


@pytest.mark.parametrize(
    ("rows", "settings", "said"),
    [
        ([talk(0), {"question": "Fever?"}], {}, "rows.jsonl, line 2 cannot be used: The chat has no answer of the"),
        ([talk(0)], {"longest": 8}, "No chat of 'train' has an answer within 8 tokens: raise longest"),
        ([talk(0)], {"model.dtype": "bfloat16"}, "train with -s model.dtype=float32, or with --adapter lora"),
        ([talk(0)], {"red_flags": "none.jsonl"}, "none.jsonl cannot be read: No such file"),
    ],
)
def test_what_cannot_be_trained_on_is_told(place, rows, settings, said):
    lines(place / "rows.jsonl", rows)
    with pytest.raises(OmlabError, match=said):
        adapt(place, "llama", data="rows.jsonl", **{"data.val": 0.0, **settings})


def test_a_training_that_misses_a_red_flag_ends_with_the_weights_before(place):
    lines(place / "flags.jsonl", [{"prompt": "0 fever?", "must_not": "^rest$"}])
    out, told = adapt(place, "llama", epochs=40, red_flags="flags.jsonl")
    rows = history(out)
    assert 1 < len(rows) < 40
    assert [row["val_red_flags"] for row in rows[-2:]] == [0, 1]
    assert answers(out)["fever"] != "rest"
    assert any("flags.jsonl, line 1: the answer 'rest' holds '^rest$'" in sentence for sentence in told)
    assert any(f"ended after epoch {len(rows)}: red_flags of validation is 1" in sentence for sentence in told)


def test_texts_of_two_sources_are_learnt_by_their_shares(place):
    texts = [{"text": f"the patient {n} has a fever", "source": "notes" if n % 4 else "books"} for n in range(60)]
    lines(place / "corpus.jsonl", texts)
    out, told = adapt(
        place, "bloom", recipe="corpus", data="corpus.jsonl", replay="books=0.5", tokens=6000, every=20, batch_size=2
    )
    rows = history(out)
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]
    assert any("tokens are learnt (books 5" in sentence or "(books 49" in sentence for sentence in told)


class Lengths:
    def __init__(self, lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)


def test_every_chat_comes_once_an_epoch_beside_others_of_like_length():
    store = Lengths([(7 * n) % 64 for n in range(64)])
    batches = [SortedBatches(store=store, size=4, seed=3).places(number) for number in range(16)]
    assert sorted(place for batch in batches for place in batch) == list(range(64))
    assert (
        max(
            max(map(store.lengths.__getitem__, batch)) - min(map(store.lengths.__getitem__, batch)) for batch in batches
        )
        < 8
    )


def test_quantised_weights_are_refused(place):
    with pytest.raises(OmlabError, match="quantised, and cannot be trained so"):
        adapt(place, "llama", **{"model.quantised": "int8"})
