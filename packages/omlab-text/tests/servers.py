"""An OpenAI-compatible server on this machine that behaves as it is told, request by request."""

import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """What it does next (`script`; when that is over it answers what `says` makes of it), and what it was asked."""

    def __init__(self, *script, says):
        self.script, self.says, self.asked, self.keys, self.guard = list(script), says, [], [], threading.Lock()

    def next(self, body, key):
        with self.guard:
            self.asked.append(body)
            self.keys.append(key)
            return self.script.pop(0) if self.script else "answer"


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            does = server.next(body, self.headers.get("Authorization"))
            text = server.says(body)
            if does == "slow":
                time.sleep(0.6)
            if isinstance(does, int):
                self.reply(b'{"error": "key is secret-key"}', status=does)
            elif does == "drop":
                self.connection.shutdown(socket.SHUT_RDWR)
            elif does == "garbage":
                self.reply(b"<html>busy</html>")
            elif isinstance(does, dict):
                self.reply((f"data: {json.dumps(does)}\n\n" if body.get("stream") else json.dumps(does)).encode())
            elif body.get("stream"):
                self.stream(text, half=does == "half")
            else:
                self.reply(json.dumps(completion(text)).encode(), cut=does == "half")

        def reply(self, content, *, status=200, cut=False):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

        def stream(self, text, *, half):
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            for word in text.split(" "):
                event = {"choices": [{"delta": {"content": f"{word} "}}]}
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            if not half:
                end = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": 3}}
                self.wfile.write(f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode())

        def log_message(self, *arguments):
            pass

    return Handler


def completion(text):
    return {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3},
    }


def heard(body):
    return f"{body['model']} heard: {body['messages'][-1]['content']}"


@contextmanager
def serving(*script, says=heard):
    """The server's address, and what it did."""
    server = Server(*script, says=says)
    running = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/v1", server
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
