"""Models of the toy plugin."""

import warnings

from omlab_toy.payloads import Move, Note, Signal, Vector

from omlab import Delta
from omlab.errors import InputError, OmlabWarning


class Adder:
    module = None

    def __init__(self, offset):
        self.offset = offset

    def predict(self, batch, /, *, times=1):
        return [Signal(value + times * self.offset for value in inputs["signal"].values) for inputs in batch]

    def layers(self):
        return []

    def retarget(self, recipe, about, *, settings, seed):
        return Adder(about.facts["signal"]["middle"])

    def recipe(self, recipe, data, *, settings, seed):
        return [case.load() for case in data.cases("train")]

    def config(self):
        return {"offset": self.offset}


def load_adder(card, *, weights, needs, device, settings, config):
    return Adder(config["offset"] if config else settings["offset"])


class Breaker:
    """Does what its way says; "third" fails the third case of a batch alone."""

    def __init__(self, way):
        self.way = way
        self.calls = []

    def predict(self, batch, /):
        self.calls.append(len(batch))
        if self.way == "bug":
            raise ZeroDivisionError("a bug")
        if self.way == "stop":
            raise KeyboardInterrupt
        if self.way == "lost":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if self.way == "warn":
            warnings.warn("look out", OmlabWarning, stacklevel=2)
        for number, inputs in enumerate(batch):
            values = inputs["signal"].values
            if self.way == "third" and values == [3.0]:
                raise InputError("three is refused.")
            if self.way == "few" and number == len(batch) - 1:
                return
            yield {
                "grid": Signal(values, start=7),
                "kind": Note("no signal"),
                "nan": Signal([float("nan")] * len(values)),
            }.get(self.way, Signal(values))
        if self.way == "many":
            yield Signal([])


def load_breaker(card, *, weights, needs, device, settings, config):
    return Breaker(settings["way"])


class Embedder:
    def __init__(self):
        self.prepared = 0

    def prepare(self, verb, inputs, /):
        self.prepared += 1
        return inputs["signal"].values

    def embed(self, batch, /):
        for values in batch:
            yield Vector([sum(values) / len(values), float(len(values))])


def load_embedder(card, *, weights, needs, device, settings, config):
    return Embedder()


class Mover:
    def __init__(self, helper):
        self.helper = helper

    def register(self, batch, /):
        for inputs in batch:
            by = inputs["fixed"].values[0] - inputs["moving"].values[0]
            moved = self.helper.predict(signal=inputs["moving"])
            yield Move(moved, by)


def load_mover(card, *, weights, needs, device, settings, config):
    return Mover(needs["helper"])


class Teller:
    def generate(self, batch, /):
        return [list(self.stream("generate", inputs))[-1] for inputs in batch]

    def stream(self, verb, inputs, /):
        words = f"once there was {inputs['note'].text}".split()
        for word in words:
            yield Delta(text=f"{word} ")
        yield Note(" ".join(words))


def load_teller(card, *, weights, needs, device, settings, config):
    return Teller()


class Careful:
    def predict(self, batch, /):
        return [Signal(inputs["signal"].values, facts={"length": len(inputs["signal"].values)}) for inputs in batch]


def load_careful(card, *, weights, needs, device, settings, config):
    return Careful()
