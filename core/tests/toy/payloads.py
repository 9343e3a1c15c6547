"""Payloads of the toy plugin."""

import math
from pathlib import Path


class Signal:
    kind = "signal"

    def __init__(self, values, start=0, facts=None):
        self.values, self.start = [float(value) for value in values], start
        self.facts = facts or {}

    def same_grid(self, other):
        return len(self.values) == len(other.values) and self.start == other.start

    @property
    def nbytes(self):
        return 8 * len(self.values)

    def is_finite(self):
        return all(math.isfinite(value) for value in self.values)

    def tells(self):
        return self.facts

    def telling(self, facts):
        return Signal(self.values, self.start, facts=facts)

    @classmethod
    def stack(cls, payloads):
        return cls([value for payload in payloads for value in payload.values])

    def overlay(self, inputs, *, target=None):
        return b"\x89PNG" + f"{inputs['signal'].values} {self.values}".encode()


class Note:
    kind = "note"

    def __init__(self, text):
        self.text = text

    @classmethod
    def from_value(cls, value):
        return cls(str(value))

    def facets(self):
        return frozenset(["shouted" if self.text.isupper() else "plain"])

    def referred(self):
        return [Path(word) for word in self.text.split() if word.endswith(".png")]


class Vector:
    kind = "vector"

    def __init__(self, values):
        self.values = list(values)


class Move:
    kind = "move"

    def __init__(self, moved, by):
        self.moved, self.by = moved, by

    def parts(self):
        return {"moved": self.moved, "by": Note(str(self.by))}
