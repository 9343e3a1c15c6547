import json
import warnings

import pytest
from click.testing import CliRunner
from servers import serving

from omlab.cli.app import build
from omlab.errors import UsageError
from omlab_text.chat import ToolCall, ask
from omlab_text.chat_model import Answer
from omlab_text.endpoint import LARGEST_REPLY, SILENCES, EndpointBackend, NoAnswerError, RefusedError, Server
from omlab_text.sampling import Sampling


def backend(url, **more):
    return EndpointBackend(Server(url=url, model="m", **{"back_off": 0.01, "timeout": 5, **more}))


def answer(backend, text="Fever?", sampling=None):
    sampling = sampling or Sampling()
    return next(iter(backend.answer([backend.prepare(ask(text), sampling)], sampling)))


@pytest.mark.parametrize("trouble", [429, 500, 503, "drop", "garbage", "half"])
def test_what_goes_wrong_is_asked_again_until_it_is_answered(trouble):
    with serving(trouble, trouble) as (url, server):
        found = answer(backend(url))
    assert isinstance(found, Answer)
    assert found.turn.text == "m heard: Fever?"
    assert (found.made.tokens_in, found.made.tokens_out) == (5, 3)
    assert len(server.asked) == 3


def test_a_slow_server_is_given_up_and_asked_again():
    with serving("slow") as (url, server):
        assert answer(backend(url, timeout=0.2)).turn.text == "m heard: Fever?"
    assert len(server.asked) == 2


def test_without_an_answer_the_case_fails_and_after_many_in_a_row_none_is_asked():
    with serving(*[500] * 50) as (url, server):
        asking = backend(url, retries=1)
        found = [answer(asking) for _ in range(SILENCES)]
        assert all(isinstance(each, NoAnswerError) and "status 500" in str(each) for each in found)
        with pytest.raises(RefusedError, match="no more is asked"):
            answer(asking)
    assert len(server.asked) == 2 * SILENCES


@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_ends_it_at_once_and_shows_no_key(status):
    refusal = pytest.raises(RefusedError, match=rf"refuses \(status {status}")
    with serving(status) as (url, server), refusal as error:
        answer(backend(url, key="secret-key"))
    assert server.keys == ["Bearer secret-key"]
    assert "secret-key" not in str(error.value)
    assert "secret-key" not in repr(Server(url=url, model="m", key="secret-key"))


def test_options_go_along_in_the_servers_words():
    sampling = Sampling(temperature=0.5, stop=["END"], seed=7, schema='{"type": "object"}')
    with serving() as (url, server):
        answer(backend(url), sampling=sampling)
        answer(backend(url), sampling=Sampling(regex="[AB]"))
    first, second = server.asked
    assert (first["temperature"], first["stop"], first["seed"]) == (0.5, ["END"], 7)
    assert first["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert second["structured_outputs"] == {"regex": "[AB]"}


def test_a_call_of_a_tool_is_an_answer():
    call = {"id": "1", "type": "function", "function": {"name": "bmi", "arguments": '{"weight": 70}'}}
    content = {"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    found = backend("http://127.0.0.1:9/v1")._read(json.dumps(content).encode())
    assert found.turn.calls == (ToolCall(name="bmi", arguments={"weight": 70}, id="1"),)
    assert found.made.end == "tool_calls"


@pytest.mark.parametrize(
    "found",
    [{"logprobs": {"content": [{"word": "m"}]}}, {"logprobs": [0.1]}, {"logprobs": {"content": [{"token": "m"}]}}],
)
def test_what_only_looks_like_a_completion_is_asked_again(found):
    choice = {"message": {"content": "Rest."}, "finish_reason": "stop", **found}
    with serving({"choices": [choice]}) as (url, server):
        assert answer(backend(url)).turn.text == "m heard: Fever?"
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"choices": [{"delta": {"content": 5}}]}, "broke off"),
        ({"choices": 5}, "broke off"),
        ({"choices": [{"delta": {"content": "m" * (LARGEST_REPLY + 1)}}]}, "has no end"),
    ],
)
def test_a_stream_of_something_else_is_no_answer(event, said):
    with serving(event) as (url, _):
        asking = backend(url)
        with pytest.raises(NoAnswerError, match=said):
            list(asking.stream(asking.prepare(ask("Fever?"), Sampling()), Sampling()))


def test_a_stream_comes_in_pieces_and_ends_with_the_answer():
    with serving() as (url, _):
        asking = backend(url)
        *pieces, last = asking.stream(asking.prepare(ask("Fever?"), Sampling()), Sampling())
    assert pieces == ["m ", "heard: ", "Fever? "]
    assert last.turn.text == "".join(pieces)


@pytest.mark.parametrize(("trouble", "said"), [("half", "broke off"), (503, "status 503"), ("drop", "broke off")])
def test_a_stream_that_breaks_off_is_said_and_not_asked_twice(trouble, said):
    with serving(trouble) as (url, server):
        asking = backend(url)
        with pytest.raises(NoAnswerError, match=said):
            list(asking.stream(asking.prepare(ask("Fever?"), Sampling()), Sampling()))
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://a/v1", "http://user:pass@a/v1", "http://a/v1?key=x"])
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url):
    with pytest.raises(UsageError, match="address") as error:
        Server(url=url, model="m")
    assert "pass" not in str(error.value).replace("password", "")


def test_a_batch_is_resumed_without_asking_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("OUR_KEY", "secret-key")
    questions = tmp_path / "q.jsonl"
    questions.write_text("".join(json.dumps({"id": f"q{n}", "question": f"Question {n}?"}) + "\n" for n in range(6)))
    out = tmp_path / "answers"

    def generate(url):
        words = ["generate", "endpoint", str(questions), "-o", str(out), "-s", "model=m", "-s", "key_env=OUR_KEY"]
        more = ["-s", f"url={url}", "-s", "retries=0", "-s", "back_off=0"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return CliRunner().invoke(build(), [*words, *more])

    with serving(500, 500) as (url, server):
        assert generate(url).exit_code == 1
        assert generate(url).exit_code == 0
        asked = [body["messages"][0]["content"] for body in server.asked]
        assert generate(url).exit_code == 0
    assert len(asked) == len(server.asked) == 8
    assert len(set(asked)) == 6
    rows = [json.loads(line) for line in (out / "generate.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"q{n}" for n in range(6)]
    assert rows[3]["messages"][-1] == {"role": "assistant", "content": "m heard: Question 3?"}
    assert not [path for path in out.rglob("*") if path.is_file() and b"secret-key" in path.read_bytes()]
