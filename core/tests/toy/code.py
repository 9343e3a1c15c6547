"""Code of the toy plugin."""

import warnings
from pathlib import Path

from omlab import Adapted, Metric, Report, Sample
from omlab.errors import InputError, OmlabWarning
from omlab.prompts import Object, Point, Prompts
from omlab.roles import Simulated


class Signal:
    kind = "signal"

    def __init__(self, values, start=0):
        self.values, self.start = list(values), start

    def same_grid(self, other):
        return len(self.values) == len(other.values) and self.start == other.start

    def overlay(self, payload, *, prompts=None):
        marks = [point.at[0] for entry in prompts.objects for point in entry.points] if prompts else []
        return b"\x89PNG" + f"{payload.values} {self.values} {marks}".encode()


class SignalText:
    def read(self, path, *, kind, skip=0):
        lines = path.read_text().split("\n")
        if lines[0] != "signal":
            raise InputError(f"{path} is not a signal: its first line is {lines[0]!r}.")
        if skip:
            warnings.warn(f"{skip} lines were left out.", OmlabWarning, stacklevel=2)
        return Signal(float(line) for line in lines[1 + skip :])

    def write(self, payload, path):
        path.write_text("signal\n" + "\n".join(map(str, payload.values)))


class SignalNotes:
    def write(self, payload, path):
        path.write_text(f"{len(payload.values)} values")


class Adder:
    def __init__(self, offset):
        self.offset = offset
        self.module = None

    def predict(self, payload):
        return Signal(value + self.offset for value in payload.values)


def load(card, *, weights, device, settings, config):
    if config is not None:
        from omlab.weights import read_state_dict

        return Adder(float(read_state_dict(weights)["offset"]))
    return Adder(settings["offset"])


class Pointer:
    """Writes the number of an object where the user points inside it; its clicks walk through the reference."""

    def predict(self, payload, *, prompts):
        voxels = prompts.in_voxels(AFFINE, shape=(len(payload.values), 1, 1), image=prompts.image or "the signal")
        marks = [0.0] * len(payload.values)
        for number, entry in enumerate(voxels.objects, start=1):
            for point in entry.points:
                marks[round(point.at[0])] = float(number * point.label)
        return Signal(marks)

    def simulate(self, payload, reference, *, clicks, seed):
        places = [n for n, value in enumerate(reference.values) if value]
        if not places:
            raise InputError("The reference is empty.")
        at = [places[(seed + n) % len(places)] for n in range(clicks)]
        entry = Object(name="part", points=tuple(Point(at=(n, 0, 0)) for n in at))
        prompts = Prompts(space="voxel", image="unknown", objects=(entry,))
        rows = [{"object": "part", "round": n, "dice": n / clicks, "at": at[n - 1]} for n in range(1, clicks + 1)]
        return Simulated(prediction=self.predict(payload, prompts=prompts), prompts=prompts, rows=rows)


AFFINE = [[2, 0, 0, 10], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def load_pointer(card, *, weights, device, settings, config):
    return Pointer()


class Breaker:
    def __init__(self, way):
        self.way = way

    def predict(self, payload):
        if self.way == "bug":
            raise ZeroDivisionError("a bug")
        if self.way == "stop":
            raise KeyboardInterrupt
        if self.way == "grid":
            return Signal(payload.values, start=7)
        if self.way == "kind":
            return Sample(id="x", payload=payload).payload.__class__.__new__(type("Other", (), {"kind": "other"}))
        warnings.warn("look out", OmlabWarning, stacklevel=2)
        return Signal(payload.values)


def load_breaker(card, *, weights, device, settings, config):
    return Breaker(settings["way"])


class Ramps:
    def __init__(self, root):
        self.root = Path(root)

    def splits(self):
        return ["train", "test"]

    def ids(self, split):
        return {"train": ["a", "b"], "test": ["c", "d"]}[split]

    def files(self, id):
        return [self.root / f"{id}.sig"]

    def prepare(self):
        self.root.mkdir(parents=True, exist_ok=True)
        for number, id in enumerate("abcd"):
            SignalText().write(Signal(range(number, number + 4)), self.root / f"{id}.sig")

    def verify(self):
        return [f"{id}.sig is missing" for id in "abcd" if not (self.root / f"{id}.sig").is_file()]

    def sample(self, id):
        payload = SignalText().read(self.root / f"{id}.sig", kind="signal")
        return Sample(id=id, payload=payload, target=Signal(v + 5 for v in payload.values))


def open_ramps(card, *, root, settings):
    return Ramps(root)


class OffsetAdapter:
    def fit(self, model, data, *, device, seed, folder):
        import torch

        samples = [data.sample(id) for id in data.ids("train")]
        gaps = [t - v for s in samples for v, t in zip(s.payload.values, s.target.values, strict=True)]
        offset = sum(gaps) / len(gaps)
        return Adapted(
            model=Adder(offset),
            config={"learned": True},
            tensors={"offset": torch.tensor(offset)},
            history=[{"epoch": 0, "loss": 0.5}],
        )

    def restore(self, build, *, config, weights):
        return build(weights=weights, config=config)


def load_offset(card, *, settings):
    return OffsetAdapter()


class ErrorEvaluator:
    def measure(self, sample, prediction, *, folder):
        pairs = zip(prediction.values, sample.target.values, strict=True)
        errors = [abs(p - t) for p, t in pairs]
        (folder / f"{sample.id}.txt").write_text("picture")
        return [{"error": sum(errors) / len(errors)}]

    def report(self, rows, *, folder):
        values = [row["error"] for case in rows.values() for row in case]
        (folder / "report.html").write_text("<html></html>")
        mean = sum(values) / len(values)
        return Report(metrics=[Metric(name="error", value=mean, n=len(values), higher_is_better=False)])


def load_error(card, *, settings):
    return ErrorEvaluator()


class Essays:
    """Counts words; a paid reply is kept in the scratch folder and never asked for twice."""

    def __init__(self, settings):
        self.settings = settings

    def cases(self):
        paths = [Path(name) for name in self.settings["answers"]]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise InputError(f"{missing[0]} does not exist.")
        return {path.stem: [path] for path in paths}

    def measure(self, case, *, folder, scratch):
        path = next(path for path in self.cases()[case])
        with (scratch / "paid").open("a") as stream:
            stream.write(f"{case}\n")
        words = path.read_text().split()
        if words == ["stop"]:
            raise KeyboardInterrupt
        if len(words) < self.settings["least_words"]:
            raise InputError(f"{path} has {len(words)} words.")
        (folder / f"{case}.txt").write_text("counted")
        return [{"words": len(words)}]

    def report(self, rows, *, folder):
        (folder / "report.html").write_text("<html></html>")
        words = {case: row["words"] for case, (row,) in rows.items()}
        mean = sum(words.values()) / len(words)
        return Report(metrics=[Metric(name="words", value=mean)], details={"words": words})


def load_essays(card, *, settings):
    return Essays(settings)
