import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omlab import About, Sample
from omlab.digests import digest_of
from omlab.errors import InputError, UsageError
from omlab.roles import Metric, Report
from omlab_example.signals import Marks, Note, Signal, row

CLASSES = {"signal": (Signal, np.float32), "marks": (Marks, np.uint8)}


class Json:
    def read(self, path, *, kind):
        try:
            document = json.loads(path.read_text())
            cls, dtype = CLASSES[kind]
            return cls(row(document["array"], dtype), document["step"], document["start"])
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is not a {kind}: {error}.") from error

    def write(self, payload, path, *, inputs):
        content = {"array": payload.array.ravel().tolist(), "step": payload.step, "start": payload.start}
        path.write_text(json.dumps(content))


class Lines:
    def index(self, path):
        return list(self._entries(path))

    def read(self, path, *, kind, key=None):
        entries = self._entries(path)
        if key is None and len(entries) == 1:
            key = next(iter(entries))
        if key not in entries:
            raise InputError(f"{path} has no note '{key}'.")
        return Note(entries[key])

    def write(self, payload, path, *, inputs):
        self.collect([("note", self.pack(payload))], path)

    def pack(self, payload):
        return payload.text.encode()

    def collect(self, records, path):
        path.write_text("".join(f"{json.dumps([id, packed.decode()])}\n" for id, packed in records))

    def _entries(self, path):
        try:
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            if not rows:
                raise ValueError("it is empty")
            return {str(id): text for id, text in rows}
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path} has no notes: {error}.") from error


@dataclass(frozen=True)
class WaveCase:
    id: str
    group: str
    paths: tuple[Path, Path]

    @property
    def files(self):
        return {"signal": self.paths[:1], "target": self.paths[1:]}

    def load(self):
        signal, marks = (Json().read(path, kind=kind) for path, kind in zip(self.paths, CLASSES, strict=True))
        return Sample(id=self.id, inputs={"signal": signal}, target=marks, group=self.group)


class Waves:
    def __init__(self, root):
        self.root = Path(root)
        self.ids = {"train": ("a", "b", "c"), "test": ("d", "e")}

    def splits(self):
        return ["train", "test"]

    def prepare(self):
        self.root.mkdir(parents=True, exist_ok=True)
        for number, id in enumerate("abcde"):
            wave = row(np.sin(np.arange(8) * number))
            for kind, payload in (("signal", Signal(wave)), ("marks", Marks((wave > 0).astype(np.uint8)))):
                path = self.root / f"{id}.{kind}.json"
                if not path.exists():
                    Json().write(payload, path, inputs={})

    def about(self, split):
        count = len(self.cases(split))
        return About(
            inputs={"signal": "signal"},
            target="marks",
            task="marking",
            classes={0: "low", 1: "high"},
            cases=count,
            groups=count,
        )

    def digest(self, split):
        return digest_of([(path.name, path.stat().st_size) for case in self.cases(split) for path in case.paths])

    def cases(self, split):
        if split not in self.ids:
            raise UsageError(f"There is no split '{split}'.")
        return [
            WaveCase(id, f"patient-{id}", (self.root / f"{id}.signal.json", self.root / f"{id}.marks.json"))
            for id in self.ids[split]
        ]

    def verify(self):
        problems = []
        for path in [path for split in self.ids for case in self.cases(split) for path in case.paths]:
            try:
                Json().read(path, kind="signal")
            except InputError as error:
                problems.append(str(error))
        return problems


def open_waves(card, *, root, settings):
    return Waves(root)


class Agreement:
    def measure(self, sample, result, folder):
        if result.array.shape != sample.target.array.shape:
            raise InputError(f"The result of '{sample.id}' has another length than its target.")
        return [{"equal": float((sample.target.array == result.array).mean())}]

    def report(self, rows, folder):
        values = [row["equal"] for case in rows.values() for row in case]
        mean = sum(values) / len(values)
        return Report(metrics=[Metric(name="agreement", value=mean, low=mean, high=mean, n=len(values))])


def load_agreement(card, *, settings):
    return Agreement()
