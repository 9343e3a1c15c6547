"""A model that streams, one behind an endpoint, and one that needs another model."""

import json
import urllib.request

from omlab import Delta
from omlab.errors import InputError
from omlab_example.signals import Both, Note


class Story:
    def __init__(self):
        self.busy = False

    def generate(self, batch, /, *, times=1):
        return [Note(" ".join(self._words(inputs, times))) for inputs in batch]

    def stream(self, verb, inputs, /, *, times=1):
        if self.busy:
            raise InputError("Still telling the last story.")
        self.busy = True
        words = self._words(inputs, times)
        try:
            for word in words:
                yield Delta(text=f"{word} ")
            yield Note(" ".join(words))
        finally:
            self.busy = False

    def _words(self, inputs, times):
        more = inputs["more"].text.split() if "more" in inputs else []
        return times * ["once", *inputs["note"].text.split(), *more]


def load_story(card, *, weights, needs, device, settings, config):
    return Story()


class Asker:
    def __init__(self, endpoint):
        self.endpoint = endpoint

    def generate(self, batch, /):
        for inputs in batch:
            request = urllib.request.Request(
                self.endpoint.url,
                json.dumps({"model": self.endpoint.model_id, "text": inputs["note"].text}).encode(),
                {"Authorization": f"Bearer {self.endpoint.key()}"},
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                yield Note(json.load(answer)["text"])


def load_asker(card, *, weights, needs, device, settings, config):
    return Asker(weights.endpoint)


class Duo:
    def __init__(self, net):
        self.net = net

    def compare(self, batch, /):
        for inputs in batch:
            if not inputs["second"].is_finite():
                yield InputError("The second signal has values that are not finite.")
                continue
            yield Both(inputs["second"], self.net.predict(signal=inputs["first"]))


def load_duo(card, *, weights, needs, device, settings, config):
    return Duo(needs["net"])
