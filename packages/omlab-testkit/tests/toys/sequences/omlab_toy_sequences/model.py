from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import ClassVar

from omlab.errors import InputError
from omlab_payloads.scores import Scores


@dataclass(frozen=True)
class Sequence:
    kind: ClassVar[str] = "sequence"
    letters: str

    @classmethod
    def from_value(cls, value):
        return cls(str(value))


class Fasta:
    def index(self, path):
        return list(self._entries(path))

    def read(self, path, *, kind, key=None):
        entries = self._entries(path)
        if key not in entries and (key is not None or len(entries) != 1):
            raise InputError(f"{path} has {len(entries)} sequences, of which none is meant by '{key}'.")
        return Sequence(entries[key] if key is not None else next(iter(entries.values())))

    def write(self, payload, path, *, inputs):
        path.write_text(f">sequence\n{payload.letters}\n")

    def _entries(self, path):
        try:
            parts = path.read_text().split(">")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is no FASTA file: {error}.") from error
        if parts[0].strip() or len(parts) < 2:
            raise InputError(f"{path} is no FASTA file: it does not begin with '>'.")
        return {name: "".join(rest.split()) for name, _, rest in (part.partition("\n") for part in parts[1:])}


class Aligner:
    def score(self, batch, /, *, longest=False):
        for inputs in batch:
            one, other = inputs["query"].letters, inputs["reference"].letters
            same = [block.size for block in SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()]
            matched = max(same) if longest else sum(same)
            yield Scores(values={"matched": matched, "identity": matched / max(len(one), len(other), 1)})


def load(card, *, weights, needs, device, settings, config):
    return Aligner()


def example_sequences():
    return [Sequence("ACDEFGHIKL"), Sequence("ACDFGHIKLM"), Sequence("MNPQ")]


def odd_sequences():
    return {"empty": Sequence(""), "one letter": Sequence("A"), "unknown letters": Sequence("X*-?")}
