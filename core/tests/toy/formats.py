"""Formats of the toy plugin."""

import json
import warnings

from omlab_toy.payloads import Note, Signal, Vector

from omlab.errors import InputError, OmlabWarning


class SignalText:
    def read(self, path, *, kind, skip=0):
        lines = path.read_text().split("\n")
        if lines[0] != "signal":
            raise InputError(f"{path} is not a signal: its first line is {lines[0]!r}.")
        if skip:
            warnings.warn(f"{skip} lines were left out.", OmlabWarning, stacklevel=2)
        return Signal(float(line) for line in lines[1 + skip :])

    def write(self, payload, path, *, inputs):
        path.write_text("signal\n" + "\n".join(map(str, payload.values)))


class SignalNotes:
    def write(self, payload, path, *, inputs):
        if 13.0 in payload.values:
            path.mkdir()  # as formats do that write folders
            (path / "begun").touch()
            raise ValueError("13 cannot be noted")
        path.write_text(f"{len(payload.values)} values")


class Notes:
    def index(self, path):
        return [line.split("\t")[0] for line in path.read_text().splitlines()]

    def read(self, path, *, kind, key=None):
        for line in path.read_text().splitlines():
            id, _, text = line.partition("\t")
            if key in (None, id):
                return Note(text)
        raise InputError(f"{path} has no note '{key}'.")

    def write(self, payload, path, *, inputs):
        path.write_text(f"note\t{payload.text}\n")

    def pack(self, payload):
        return payload.text.encode()

    def collect(self, records, path):
        path.write_text("".join(f"{id}\t{packed.decode()}\n" for id, packed in records))


class Vectors:
    def read(self, path, *, kind, key=None):
        rows = dict(line.split(",", 1) for line in path.read_text().splitlines())
        return Vector(float(value) for value in rows[key].split(","))

    def write(self, payload, path, *, inputs):
        path.write_text(",".join(map(str, payload.values)))

    def pack(self, payload):
        return json.dumps(payload.values).encode()

    def collect(self, records, path):
        path.write_text("".join(f"{id},{','.join(map(str, json.loads(packed)))}\n" for id, packed in records))
