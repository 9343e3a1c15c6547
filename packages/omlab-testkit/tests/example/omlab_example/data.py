import json

import numpy as np

from omlab.errors import InputError, UsageError
from omlab.roles import Metric, Report, Sample
from omlab_example.signals import Marks, Signal

CLASSES = {"signal": (Signal, np.float32), "marks": (Marks, np.uint8)}


class Json:
    def read(self, path, *, kind):
        try:
            document = json.loads(path.read_text())
            cls, dtype = CLASSES[kind]
            return cls(np.array(document["array"], dtype), document["step"])
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is not a {kind}: {error}.") from error

    def write(self, payload, path):
        path.write_text(json.dumps({"array": payload.array.tolist(), "step": payload.affine}))


class Waves:
    def __init__(self, root):
        self.root = root

    def prepare(self):
        self.root.mkdir(parents=True, exist_ok=True)

    def verify(self):
        return [] if self.root.is_dir() else [f"{self.root} is not there."]

    def splits(self):
        return ["train", "test"]

    def ids(self, split):
        if split not in self.splits():
            raise UsageError(f"There is no split '{split}'.")
        return [f"{split}-{n}" for n in range(3)]

    def sample(self, id):
        if id not in self.ids("train") + self.ids("test"):
            raise UsageError(f"There is no case '{id}'.")
        wave = np.sin(np.arange(8, dtype=np.float32) * int(id[-1]))
        return Sample(id=id, payload=Signal(wave, 1.0), target=Marks((wave > 0).astype(np.uint8), 1.0))


def open_waves(card, *, root, settings):
    return Waves(root)


class Adapter:
    def __init__(self, card, *, settings):
        pass

    def fit(self, model, data, *, device, seed, folder):
        return model

    def restore(self, build, *, config, weights):
        return build(weights=weights, config=config)


class Agreement:
    def __init__(self, card, *, settings):
        pass

    def measure(self, sample, prediction, *, folder):
        return [{"equal": float((sample.target.array == prediction.array).mean())}]

    def report(self, rows, *, folder):
        values = [row["equal"] for case in rows.values() for row in case]
        mean = sum(values) / len(values)
        return Report(metrics=[Metric(name="agreement", value=mean, low=mean, high=mean, n=len(values))])
