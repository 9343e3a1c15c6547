"""PULSE from folders as they are published: its logits, its chats, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from folders import as_pickled_shards, as_sentencepiece
from transformers import AutoModelForCausalLM

import omlab
from omlab.errors import OmlabError, OmlabWarning, SettingsError, WeightsError
from omlab_pulse import model as pulse
from omlab_text.chat import Turn, ask
from omlab_text.options import Options
from omlab_text.tiny import save_tiny, tiny_network

FAMILIES = pytest.mark.parametrize("family", ["bloom", "llama"])
QUESTION = ask("发烧怎么办")


def load(folder, family, **settings):
    return omlab.load_model(f"pulse-{family}-tiny", weights=folder, device="cpu", settings=settings)


def backend(session):
    return session.model.backend


@FAMILIES
@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickled shards"])
def test_a_folder_gives_the_logits_of_transformers(tmp_path, family, pickled):
    save_tiny(tmp_path, family)
    ids = torch.tensor([[5, 70, 71, 72, 2, 80]])
    with torch.inference_mode():
        wanted = AutoModelForCausalLM.from_pretrained(tmp_path)(ids).logits
        if pickled:
            as_pickled_shards(tmp_path)
        found = backend(load(tmp_path, family)).network(ids).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)  # BLOOM's attention is omlab's


@FAMILIES
def test_a_chat_begins_with_the_instruction_that_pulse_was_trained_with(family):
    parts = backend(omlab.load_model(f"pulse-{family}-tiny", device="cpu"))
    asked = parts.format.encode(QUESTION, prompt=True).ids
    text = parts.tokenizer.text(asked)
    assert text.startswith("Instructions: You are Helper, a large language model full of intelligence.")
    assert "User: 发烧怎么办" in text
    assert asked.count(1) == (3 if family == "llama" else 0)  # <s> begins the segments of the sentencepiece form


@pytest.mark.parametrize("preset", pulse.presets())
def test_a_preset_is_put_before_the_question(preset):
    session = omlab.load_model("pulse-bloom-tiny", device="cpu")
    prompt = session.model.prepare("generate", {"chat": QUESTION}, preset=preset, max_tokens=8).value
    text = backend(session).tokenizer.text(prompt.ids)
    assert f"User: {pulse.presets()[preset]}\n发烧怎么办" in text
    assert session.generate(QUESTION, preset=preset, max_tokens=4).turns[:-1] == QUESTION.turns


def test_an_unknown_preset_is_refused():
    with pytest.raises(OmlabError, match="preset"):
        omlab.load_model("pulse-bloom-tiny", device="cpu").generate(QUESTION, preset="doctor")


def test_the_sentencepiece_file_of_a_folder_with_code_of_its_own_reads_the_same(tmp_path):
    save_tiny(tmp_path, "llama")
    before = load(tmp_path, "llama")
    prompts = [backend(before).format.encode(QUESTION, prompt=True)]
    as_sentencepiece(tmp_path)
    prompts.append(backend(load(tmp_path, "llama")).format.encode(QUESTION, prompt=True))
    assert prompts[0] == prompts[1]


def test_a_tokenizer_beyond_the_networks_table_is_refused(tmp_path):
    save_tiny(tmp_path, "bloom")
    path = tmp_path / "tokenizer.json"
    made = json.loads(path.read_text())
    made["model"]["vocab"]["zz"] = 9999
    path.write_text(json.dumps(made))
    with pytest.raises(WeightsError, match=r"has a token 9999, but the network's table ends at \d+"):
        load(tmp_path, "bloom")


def test_files_of_another_network_are_refused_with_both_sizes(tmp_path):
    save_tiny(tmp_path, "llama")
    with pytest.raises(WeightsError, match=r"a llama of 2 layers of width 32, but pulse-7b is a bloom of 30 layers"):
        omlab.load_model("pulse-7b", weights=tmp_path, device="cpu")


def test_the_licence_is_said_when_weights_are_loaded(tmp_path, monkeypatch):
    save_tiny(tmp_path, "bloom")
    monkeypatch.setitem(pulse.SIZES, "pulse-7b", pulse.SIZES["pulse-bloom-tiny"])
    with pytest.warns(OmlabWarning, match="weights of pulse-7b are under this licence: AGPL-3.0"):
        omlab.load_model("pulse-7b", weights=tmp_path, device="cpu")


@pytest.mark.parametrize("card", ["pulse-7b", "pulse-bloom-tiny"])
@pytest.mark.parametrize("settings", [{"rope": "static", "rope_factor": 2.0}, {"rope_factor": 2.0}])
def test_alibi_models_refuse_scaling_before_anything_is_fetched(card, settings):
    with pytest.raises(SettingsError, match="this model is a BLOOM, whose positions are ALiBi"):
        omlab.load_model(card, device="cpu", settings=settings, offline=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rope_factor": 2.0}, "rope_factor=2 needs a way to scale"),
        ({"rope": "static"}, "rope=static needs to know how far"),
    ],
)
def test_half_of_a_scaling_is_refused(settings, said):
    with pytest.raises(SettingsError, match=said):
        omlab.load_model("pulse-20b", device="cpu", settings=settings, offline=True)


@FAMILIES
def test_an_answer_is_as_likely_as_transformers_finds_it(family):
    session = omlab.load_model(f"pulse-{family}-tiny", device="cpu")
    parts = backend(session)
    found = session.score(QUESTION, options=Options(texts=("多喝水", "see a doctor")))
    for text, logprob, count in zip(found.texts, found.logprobs, found.tokens, strict=True):
        answered = QUESTION.then(Turn(role="assistant", text=text))
        ids = torch.tensor([parts.format.encode(answered, prompt=False).ids])
        with torch.inference_mode():
            logits = tiny_network(family, words=len(parts.tokenizer.given))(ids).logits
        chosen = logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:-1, 0]  # what ends the turn is not counted
        assert logprob == pytest.approx(chosen[-count:].sum().item(), abs=1e-3)
        assert text.endswith(parts.tokenizer.text(ids[0, -1 - count : -1].tolist()).strip())


@pytest.mark.parametrize("rope", ["static", "dynamic", "yarn", "linear"])
def test_scaled_models_have_room_for_more_and_answer_alike_alone_and_in_a_batch(tmp_path, rope):
    save_tiny(tmp_path, "llama")
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 64}))
    session = load(tmp_path, "llama", rope=rope, rope_factor=8.0)
    assert backend(session).context == 512
    chats = [QUESTION, ask("fever and cough " * 12), ask("cough")]
    inputs = [{"chat": chat} for chat in chats]
    together = session.apply("generate", inputs, max_tokens=6, temperature=0.0)
    assert together == [session.generate(chat, max_tokens=6, temperature=0.0) for chat in chats]


def test_dynamic_scaling_that_a_folder_brings_is_used(tmp_path):
    save_tiny(tmp_path, "llama")
    config = tmp_path / "config.json"
    scaling = {"rope_theta": 10000.0, "rope_type": "dynamic", "factor": 2.0}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"rope_parameters": scaling}))
    assert backend(load(tmp_path, "llama")).network.model.rotary_emb.factor == 2.0
