"""A service that answers, for a while that several calls meet in; `most` is how many were at it at once."""

import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

met = {"now": 0, "most": 0, "keys": set()}


class Service(BaseHTTPRequestHandler):
    def do_POST(self):
        met["now"] += 1
        met["most"] = max(met["most"], met["now"])
        met["keys"].add(self.headers["Authorization"])
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(0.05)
        content = json.dumps({"answer": f"{asked['model']} heard {len(asked['turns'])} turns"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        met["now"] -= 1

    def log_message(self, *arguments):
        pass


@cache
def endpoint(card):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/answer"
