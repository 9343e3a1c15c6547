import json
from pathlib import Path

import pytest

import omlab
from omlab.errors import InputError
from omlab_text.chat import Chat, ToolCall, Turn, ask
from omlab_text.files import Lines, List
from omlab_text.rows import schema

FORMS = {
    "question": {"question": "Fever?", "system": "Be brief."},
    "openai": {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Fever?"}]},
    "parts": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Fev"}, {"type": "text", "text": "er?"}]},
        ]
    },
    "batch": {"custom_id": "a", "body": {"model": "m", "messages": [{"role": "user", "content": "Fever?"}]}},
    "sharegpt": {"conversations": [{"from": "human", "value": "Fever?"}], "system": "Be brief.", "source": "forum"},
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_row_is_the_same_chat(form, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(FORMS[form]) + "\n")
    wanted = ask("Fever?", system="" if form == "batch" else "Be brief.")
    assert omlab.read(path, kind="chat") == wanted


def test_tool_calls_results_and_images_keep_their_form():
    rows = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "chest.png"}}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "bmi", "arguments": '{"weight": 70}'}}],
        },
        {"role": "tool", "content": "22.9", "tool_call_id": "1"},
    ]
    chat = Chat.from_value(rows)
    assert chat.turns[0].images == ("chest.png",)
    assert chat.referred() == [Path("chest.png")]
    assert chat.turns[1].calls == (ToolCall(name="bmi", arguments={"weight": 70}, id="1"),)
    assert chat.turns[2] == Turn(role="tool", text="22.9", result_of="1")
    assert Chat.from_value(chat.to_value()) == chat


def test_images_elsewhere_are_no_files_of_a_chat():
    for place in ("https://example.org/chest.png", "data:image/png;base64,AAAA"):
        assert Chat(turns=(Turn(role="user", text="What is seen?", images=(place,)),)).referred() == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": "a"', "line 3 is not JSON"),
        ("[1]", "line 3 is not a JSON object"),
        ('{"id": "q1", "question": "again"}', "two entries with the id 'q1'"),
        ('{"id": 1.5, "question": "a"}', "line 3 cannot be used: its 'id' is neither"),
    ],
)
def test_a_wrong_line_is_named_before_anything_begins(line, said, tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"id": "q1", "question": "a"}\n\n' + line + "\n")
    with pytest.raises(InputError, match=said) as error:
        Lines().index(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": [{"role": "doctor", "content": "a"}]}, r"messages\.0\.role: Input should be 'system'"),
        ({"messages": []}, "A chat has no turns"),
        ({"messages": [{"role": "user", "content": "  "}]}, "A turn of the user says nothing"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}, "Turn 2 is the system"),
        ({"conversations": [{"from": "human"}]}, r"conversations\.0\.value: Field required"),
        ({"answer": "a"}, "A chat has one of the fields messages, .*; here are id, answer"),
        ({"question": 3}, "question: Input should be a valid string"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            "arguments of the call of 'f' are no JSON object",
        ),
    ],
)
def test_a_wrong_row_names_file_line_and_field(row, said, tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"id": "q1", "question": "a"}\n' + json.dumps({"id": "q2", **row}) + "\n")
    with pytest.raises(InputError, match=said) as error:
        Lines().read(path, kind="chat", key="q2")
    assert f"{path}, line 2 cannot be used" in str(error.value)


def test_rows_without_ids_are_called_by_their_lines_in_order(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text("\n" + '{"question": "a"}\n' * 11)
    assert list(Lines().index(path)) == [f"{n:06d}" for n in range(2, 13)]


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text("\n\n")
    with pytest.raises(InputError, match="holds no row"):
        Lines().index(path)


def test_a_list_of_messages_in_a_json_file_is_one_chat(tmp_path):
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(ask("Fever?", system="Brief.").to_value()["messages"]))
    assert List().index(path) == ("000001",)
    assert omlab.read(path, kind="chat") == ask("Fever?", system="Brief.")


def test_the_schema_tells_the_forms():
    shown = json.dumps(schema())
    assert all(f'"{field}"' in shown for field in ("messages", "conversations", "custom_id", "question"))
