"""The data set of the toy plugin."""

from dataclasses import dataclass
from pathlib import Path

from omlab_toy.formats import SignalText
from omlab_toy.payloads import Signal

from omlab import About, Sample
from omlab.digests import digest_of

IDS = {"train": ["a", "b"], "test": ["c", "d"]}


@dataclass(frozen=True)
class RampCase:
    id: str
    path: Path
    group: str | None = None

    @property
    def files(self):
        return {"ramp": (self.path,)}

    def load(self):
        ramp = SignalText().read(self.path, kind="signal")
        return Sample(id=self.id, inputs={"ramp": ramp}, target=Signal(v + 5 for v in ramp.values))


class Ramps:
    def __init__(self, root):
        self.root = Path(root)

    def splits(self):
        return list(IDS)

    def prepare(self):
        self.root.mkdir(parents=True, exist_ok=True)
        for number, id in enumerate("abcd"):
            if not (self.root / f"{id}.sig").exists():
                SignalText().write(Signal(range(number, number + 4)), self.root / f"{id}.sig", inputs={})

    def about(self, split):
        return About(inputs={"ramp": "signal"}, target="signal", task="regression", cases=len(IDS[split]), groups=2)

    def digest(self, split):
        return digest_of([(case.id, case.path.stat().st_size) for case in self.cases(split)])

    def cases(self, split):
        return [RampCase(id, self.root / f"{id}.sig") for id in IDS[split]]

    def verify(self):
        return [f"{id}.sig is missing" for id in "abcd" if not (self.root / f"{id}.sig").is_file()]


def open_ramps(card, *, root, settings):
    return Ramps(root)


def survey(cases, name):
    values = [value for case in cases for value in case.load().inputs[name].values]
    return {"middle": sum(values) / len(values), "expects": {"signal": {"most": 1000}}}


def gate(signal, expected):
    high = [value for value in signal.values if value > expected["most"]]
    return {"doubts": [f"{value:g} is above {expected['most']}." for value in high], "highest": max(signal.values)}
