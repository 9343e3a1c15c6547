"""A modality of its own: lines of numbers, marks on them, words."""

from dataclasses import dataclass

from omlab import Metric, Report
from omlab.errors import InputError


@dataclass(frozen=True)
class Line:
    values: tuple
    kind = "line"

    def same_grid(self, other):
        return len(self.values) == len(other.values)

    @classmethod
    def stack(cls, payloads):
        return cls(sum((payload.values for payload in payloads), ()))


@dataclass(frozen=True)
class Marks:
    values: tuple
    names: tuple = ()
    kind = "marks"

    def same_grid(self, other):
        return len(self.values) == len(other.values)

    def present(self):
        names = dict(self.names)
        return {value: names.get(value, f"label {value}") for value in sorted({int(v) for v in self.values} - {0})}

    def named(self, names):
        return Marks(self.values, tuple(names.items()))

    def overlay(self, inputs, *, target=None):
        return b"\x89PNG a picture"


@dataclass(frozen=True)
class Words:
    text: str
    kind = "words"

    @classmethod
    def from_value(cls, value):
        return cls(str(value))


def numbers(text, path):
    try:
        return tuple(float(part) for part in text.split())
    except ValueError:
        raise InputError(f"{path} holds something else than numbers.") from None


class LineText:
    def read(self, path, *, kind, times=1):
        found = tuple(times * number for number in numbers(path.read_text(), path))
        return {"line": Line, "marks": Marks}[kind](found)

    def write(self, payload, path, *, inputs):
        path.write_text(" ".join(map(str, payload.values)))


class Lines:
    def index(self, path):
        return [line.split("\t")[0] for line in path.read_text().splitlines()]

    def read(self, path, *, kind, key=None):
        for line in path.read_text().splitlines():
            name, _, rest = line.partition("\t")
            if name == key:
                return Line(numbers(rest, path))
        raise InputError(f"{path} has no entry '{key}'.")


class WordsText:
    def read(self, path, *, kind):
        return Words(path.read_text())

    def write(self, payload, path, *, inputs):
        path.write_text(payload.text)


class Sum:
    def predict(self, batch, /):
        for inputs in batch:
            yield Words(f"{sum(inputs['line'].values):g}{inputs['note'].text if 'note' in inputs else ''}")


def load_sum(card, *, weights, needs, device, settings, config):
    return Sum()


class Said:
    def measure(self, sample, result, folder):
        return [{"right": result.text == sample.target.text}]

    def report(self, rows, folder):
        right = [row["right"] for case in rows.values() for row in case]
        return Report(metrics=[Metric(name="accuracy", value=sum(right) / len(right), n=len(right))])


def load_said(card, *, settings):
    return Said()
