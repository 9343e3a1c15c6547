import json
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answers(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = json.dumps({"text": f"{asked['model']} read {asked['text']}"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@cache
def endpoint(card):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def snapshot(card, tag, folder):
    from omlab_example.model import Net

    from omlab.weights import save_state_dict

    (folder / "config.json").write_text("{}")
    save_state_dict(
        {key: tensor + 1 for key, tensor in Net(classes=2).state_dict().items()}, folder / "model.safetensors"
    )
    return True
