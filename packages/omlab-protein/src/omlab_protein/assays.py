"""The data set `proteingym`: its reference file and the assays' tables, wherever the user has them.

    <root>/DMS_substitutions.csv      the reference file: DMS_id, DMS_filename, UniProt_ID, target_seq, ...
    <root>/<DMS_filename>             or in a folder below: mutant, DMS_score

Assays whose table is not there are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab import About, Payload, Sample
from omlab.card_schema import DatasetCard
from omlab.digests import digest_of
from omlab.errors import InputError, UsageError
from omlab_protein import sequence
from omlab_protein.mutants import MutantTable
from omlab_protein.proteingym import ASSAY, FUNCTION, PROTEIN, read_table
from omlab_protein.variants import Variants

REFERENCE = "DMS_substitutions.csv"
FILE, LETTERS, CUTOFF = "DMS_filename", "target_seq", "DMS_binarization_cutoff"
SPLIT = "test"


def open_proteingym(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> Assays:
    """Entry of the card."""
    return Assays(lambda: _in_proteingym(Path(root)))


@dataclass(frozen=True, kw_only=True)
class AssayCase:
    """One assay: a wild type, its variants and what was measured of them; its group is the protein."""

    id: str
    path: Path
    letters: str
    group: str
    function: str
    cutoff: float | None

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """The table, which holds variants and measurements."""
        return {"mutants": (self.path,), "target": (self.path,)}

    def load(self) -> Sample:
        """Read it. Raises `InputError` where the table has no measurements, or is of another protein."""
        table = MutantTable().read(self.path, kind="variants")
        if not isinstance(table, Variants) or table.measured is None:
            raise InputError(f"{self.path} has no column 'DMS_score'.")
        wild = sequence.Sequence(letters=self.letters, name=self.group)
        try:
            table.check_belongs({"sequence": wild})
        except InputError as error:
            raise InputError(f"{self.path} does not fit its wild type: {error}") from None
        inputs: dict[str, Payload] = {"sequence": wild, "mutants": Variants(mutants=table.mutants)}
        meta = {"function": self.function, "cutoff": self.cutoff}
        return Sample(id=self.id, inputs=inputs, target=table, group=self.group, meta=meta)


class Assays:
    """The assays that `find` finds (`omlab.roles.Dataset`), all of them in the split `test`.

    `find` raises `UsageError` where a folder is not of its form, `InputError` where a file is not.
    """

    def __init__(self, find: Callable[[], Sequence[AssayCase]]) -> None:
        self._find = find

    def splits(self) -> Sequence[str]:
        """`test` alone: nothing is trained."""
        return [SPLIT]

    def prepare(self) -> None:
        """Nothing: the files are the user's."""

    def about(self, split: str) -> About:
        """Kinds and numbers."""
        cases = self.cases(split)
        return About(
            inputs={"sequence": "sequence", "mutants": "variants"},
            target="variants",
            task="ranking",
            groups=len({case.group for case in cases}),
            cases=len(cases),
        )

    def digest(self, split: str) -> str:
        """Of names and sizes."""
        return digest_of([(case.id, case.path.stat().st_size) for case in self.cases(split)])

    def cases(self, split: str) -> Sequence[AssayCase]:
        """The assays that are there. Raises `UsageError`, `InputError`."""
        if split != SPLIT:
            raise UsageError(f"These assays have no split '{split}', only {SPLIT}.")
        return self._find()

    def verify(self) -> Sequence[str]:
        """What is wrong with the assays, a sentence each."""
        wrong = []
        for case in self.cases(SPLIT):
            try:
                case.load()
            except InputError as error:
                wrong.append(str(error))
        return wrong


def _in_proteingym(root: Path) -> Sequence[AssayCase]:
    """The assays of the reference file whose tables are there, in its order."""
    reference = next(iter(sorted(root.rglob(REFERENCE))), None)
    if reference is None:
        raise UsageError(f"{root} has no {REFERENCE}: put ProteinGym's reference file there.")
    rows = read_table(reference)
    for column in (ASSAY, FILE, PROTEIN, FUNCTION, LETTERS):
        if column not in rows[0]:
            raise InputError(f"{reference} has no column '{column}': it is no reference file of ProteinGym.")
    there = {path.name: path for path in sorted(root.rglob("*.csv"))}
    return [
        AssayCase(
            id=row[ASSAY],
            path=there[row[FILE]],
            letters=row[LETTERS],
            group=row[PROTEIN],
            function=row[FUNCTION],
            cutoff=float(row[CUTOFF]) if row.get(CUTOFF) else None,
        )
        for row in rows
        if row[FILE] in there
    ]
