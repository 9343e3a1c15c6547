"""Alignments: A3M (insertions in small letters), and aligned FASTA; the first entry is the query."""

from __future__ import annotations

from pathlib import Path

from omlab.errors import InputError
from omlab_protein.alphabet import LETTERS
from omlab_protein.fasta import titled
from omlab_protein.homologues import GAP, Homologues

MANY = (".a3m", ".a3m.gz")


class Alignment:
    """The format `alignment`."""

    def read(self, path: Path, *, kind: str, most: int = 64) -> Homologues:
        """The query and `most` further rows, evenly from all. Raises `InputError` that names the file."""
        rows = [(title.split(maxsplit=1)[0], text.replace(".", GAP)) for title, text in titled(path)]
        if path.name.lower().endswith(MANY):
            rows = [(name, "".join(letter for letter in text if not letter.islower())) for name, text in rows]
        query = rows[0][1].upper()
        for name, row in rows:
            if len(row) != len(query):
                raise InputError(
                    f"{path} is no alignment: '{name}' has {len(row)} columns, but the first entry has {len(query)}."
                )
        columns = [n for n, letter in enumerate(query) if letter != GAP]
        if not columns:
            raise InputError(f"{path} cannot be used: its first entry has no residue.")
        step = max(1.0, (len(rows) - 1) / most)
        chosen = [rows[0], *(rows[1 + int(n * step)] for n in range(min(most, len(rows) - 1)))]
        return Homologues(rows=[_residues(name, row, columns, path=path) for name, row in chosen])


def _residues(name: str, row: str, columns: list[int], *, path: Path) -> str:
    found = "".join(row[column] for column in columns).upper()
    wrong = next((letter for letter in found if letter != GAP and letter not in LETTERS), None)
    if wrong is not None:
        raise InputError(f"{path} cannot be used: '{name}' has '{wrong}', which is no letter of proteins.")
    return found
