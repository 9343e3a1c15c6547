"""Answers of a small tournament, and a server on 127.0.0.1 that is a judge as bad as a test wants it."""

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

MODELS = ("alpha", "beta", "gamma")


def written(root, *, sets=("exam",), models=MODELS, items=100, reference=""):
    """`root`/<set>/<model>.jsonl; the answer of model number m to item n is m + 1 words long."""
    for name in sets:
        (root / name).mkdir(parents=True, exist_ok=True)
        for m, model in enumerate(models):
            rows = [
                {
                    "type": name,
                    "question": f"{name} question {n}?",
                    "reference_answer": reference,
                    "predict_answer": " ".join([f"{model}-{n}"] * (m + 1)),
                }
                for n in range(items)
            ]
            path = root / name / f"{model}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture
def write_answers():
    return written


@pytest.fixture
def answers(tmp_path):
    return written(tmp_path / "answers")


class FakeJudge:
    """`script(number, prompt)` says what happens to a request: a text, a status, or a function of the handler."""

    def __init__(self):
        self.script = lambda number, prompt: "8 7\nbecause"
        self.prompts, self.keys = [], []
        self._guard = threading.Lock()
        judge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            fake = judge

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][-1]["content"]
                with judge._guard:
                    judge.prompts.append(prompt)
                    judge.keys.append(self.headers.get("Authorization"))
                    number = len(judge.prompts)
                with suppress(OSError):  # the client was killed
                    judge.answer(self, judge.script(number, prompt))

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, handler, what):
        if callable(what):
            what(handler)
        elif isinstance(what, int):
            self.send(handler, json.dumps({"error": "no"}).encode(), status=what)
        else:
            choice = {"message": {"role": "assistant", "content": what}}
            usage = {"prompt_tokens": 10, "completion_tokens": 3}
            self.send(handler, json.dumps({"choices": [choice], "usage": usage}).encode())

    @staticmethod
    def send(handler, body, *, status=200, **headers):
        handler.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body)

    @staticmethod
    def drop(handler):
        """Close the connection without a word."""
        handler.close_connection = True
        handler.connection.close()

    @staticmethod
    def half(handler):
        """Promise more than is sent."""
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [')
        handler.close_connection = True

    @staticmethod
    def trickle(handler):
        """One byte now and then, without end."""
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        try:
            for _ in range(100):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass
        handler.close_connection = True

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def judge():
    fake = FakeJudge()
    yield fake
    fake.close()
