"""Adapters of the toy plugin."""

import json

from omlab_toy.payloads import Note

from omlab import Adapted, cases_for, features


class Shift:
    """Learns the offset of a model with the recipe `fit`; keeps it in the config."""

    def fit(self, base, data, *, recipe, settings, seed, folder):
        target = base.trainable().retarget(recipe, data.about("train"), settings=settings, seed=seed)
        samples = target.recipe(recipe, data, settings=settings, seed=seed)
        gaps = [t - v for s in samples for v, t in zip(s.inputs["signal"].values, s.target.values, strict=True)]
        tensors = folder / "tensors.safetensors"
        tensors.write_bytes(b"")
        return Adapted(
            config={"offset": sum(gaps) / len(gaps), "began": target.offset},
            tensors=tensors,
            history=[{"epoch": 1, "loss": 0.5}],
        )

    def restore(self, base, *, config, tensors):
        return base.build(config=config, weights=None)


def load_shift(card, *, settings):
    return Shift()


class MeanProbe:
    """Remembers the mean vector of the cases of a split, by the feature store."""

    def __init__(self, split):
        self.split = split

    def fit(self, base, data, *, recipe, settings, seed, folder):
        session = base.session()
        store = features(session, "embed", cases_for(session, "embed", data, self.split), folder=folder / "features")
        rows = [[float(v) for v in line.split(",")[1:]] for line in store.read_text().splitlines()]
        mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        tensors = folder / "tensors.safetensors"
        tensors.write_text(json.dumps(mean))
        takes = {"takes": {"signal": "signal"}}
        return Adapted(config={}, tensors=tensors, does={"predict": {**takes, "gives": "note"}})

    def restore(self, base, *, config, tensors):
        return Told(json.loads(tensors.read_text()), base.session())


class Told:
    def __init__(self, mean, session):
        self.mean, self.session = mean, session

    def predict(self, batch, /):
        for vector in self.session.apply("embed", batch):
            yield Note("above" if vector.values[0] > self.mean[0] else "below")


def load_probe(card, *, settings):
    return MeanProbe(settings["split"])
