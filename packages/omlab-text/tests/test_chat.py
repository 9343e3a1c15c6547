import json

import pytest
from click.testing import CliRunner
from servers import serving

import omlab
from omlab.cli.app import build
from omlab_text.tiny import save_tiny

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def chat(*words, lines):
    return CliRunner().invoke(build(), ["chat", *words], input="".join(f"{line}\n" for line in lines))


def test_a_talk_goes_on_is_saved_and_begins_anew(tmp_path):
    path = tmp_path / "talk.jsonl"
    lines = ["Fever?", "And cough?", f"/save {path}", "/clear", "Again?", f"/save {path}", "/nod", "/quit", "never"]
    with serving() as (url, server):
        found = chat("endpoint", "-s", f"url={url}", "-s", "model=m", "--system", "Be brief.", lines=lines)
    assert found.exit_code == 0, found.output
    assert "m heard: Fever?" in found.output
    assert "exists already" in found.output
    assert "There is no '/nod'" in found.output
    roles = [[message["role"] for message in body["messages"]] for body in server.asked]
    assert roles == [["system", "user"], ["system", "user", "assistant", "user"], ["system", "user"]]
    saved = omlab.read(path, kind="chat")
    assert [turn.text for turn in saved.turns][::2] == ["Be brief.", "m heard: Fever? ", "m heard: And cough? "]


def test_an_answer_that_breaks_off_is_said_and_the_talk_goes_on():
    with serving("half") as (url, server):
        found = chat("endpoint", "-s", f"url={url}", "-s", "model=m", lines=["Fever?", "Fever?"])
    assert found.exit_code == 0
    assert "Error: The answer broke off" in found.output
    assert [len(body["messages"]) for body in server.asked] == [1, 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["endpoint", "--preset", "doctor"], "has no option 'preset'"),
        (["causal-lm", "--weights", "nowhere"], "nowhere"),
        (["endpoint", "-s", "key_env=OMLAB_NO_SUCH_KEY"], "key_env must name an environment variable"),
    ],
)
def test_what_cannot_begin_is_said(words, said):
    found = chat(*words, lines=["Hello"])
    assert found.exit_code != 0
    assert said in str(found.output) + str(found.exception)


def test_a_folder_of_the_users_chats_by_its_own_template(tmp_path):
    folder = save_tiny(tmp_path / "mine", "bloom", template=TEMPLATE)
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"id": "a", "question": "Fever?"}\n{"id": "b", "question": "Cough or </s>?"}\n')
    out = tmp_path / "answers.jsonl"
    words = ["causal-lm", str(questions), "-o", str(out), "--weights", str(folder), "-s", "max_tokens=5"]
    found = CliRunner().invoke(build(), ["generate", *words, "--device", "cpu"])
    assert found.exit_code == 0, found.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["a", "b"]
    assert rows[0]["made"]["model"] == "mine"
    assert rows[1]["messages"][0]["content"] == "Cough or </s>?"


def test_int8_weights_answer(tmp_path):
    folder = save_tiny(tmp_path / "mine", "llama", template=TEMPLATE)
    session = omlab.load_model("causal-lm", weights=folder, device="cpu", settings={"quantised": "int8"})
    assert "Int8" in str(session.model.backend.network.model.layers[0].mlp.up_proj.weight)
    assert session.generate(omlab.read(_question(tmp_path), kind="chat"), max_tokens=4).made.tokens_out >= 1


def _question(folder):
    path = folder / "question.txt"
    path.write_text("What is fever?")
    return path


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ("config.json", "no config.json"),
        ("tokenizer.json", "holds no tokenizer"),
        ("chat_template.jinja", "brings no chat template: say how its chats are written with -s format"),
        ("model.safetensors", "holds no language model that transformers reads"),
    ],
)
def test_a_folder_that_lacks_something_says_what(tmp_path, lacks, said):
    folder = save_tiny(tmp_path / "mine", "bloom", template=TEMPLATE)
    for path in folder.iterdir():
        if path.name == lacks or (lacks == "tokenizer.json" and path.name == "tokenizer_config.json"):
            path.unlink()
    with pytest.raises(omlab.errors.WeightsError, match=said):
        omlab.load_model("causal-lm", weights=folder, device="cpu")


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUV" + bytes(64))
    with pytest.raises(omlab.errors.WeightsError, match="is no GGUF file: name the folder"):
        omlab.load_model("causal-lm", weights=path, device="cpu")
