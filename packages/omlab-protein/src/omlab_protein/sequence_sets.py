"""Data sets of one FASTA file: `temperatures`, whose titles say degrees, and `family`, the homologues of a protein.

>P00001 ogt=37;tm=51.95;topt=None OX=562      numbers in degrees Celsius; None: not known
>UniRef100_A0A1 ...                           a3m: gaps are taken out, insertions (small letters) stay
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omlab import About, Sample
from omlab.card_schema import DatasetCard
from omlab.digests import digest_of
from omlab.errors import InputError, UsageError
from omlab_data.splits import SPLITS, Shares, split_by_group
from omlab_payloads.scores import Scores
from omlab_protein.fasta import titled
from omlab_protein.sequence import Sequence as Residues

TEMPERATURES = {"ogt": "growth temperature", "tm": "melting temperature", "topt": "optimum temperature"}
"""What the numbers of a title, and of PRIME's regressions, are."""
CELSIUS = "°C"
COLDEST, HOTTEST = -30.0, 150.0
_NUMBER = re.compile(r"(?<![A-Za-z])(ogt|tm|topt)=([^;|,\s]*)", re.IGNORECASE)
_HOST = re.compile(r"\b(?:OX|host)=([^;|\s]+)")
_GAPS = str.maketrans("", "", "-.*")


def open_temperatures(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> SequenceSet:
    """Entry of the card; `root` is the file."""
    shares = Shares(test=settings["test"], val=settings["val"], seed=settings["seed"])
    return SequenceSet(Path(root), read=lambda path: temperatures(path, which=settings["which"]), shares=shares)


def open_family(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> SequenceSet:
    """Entry of the card; `root` is the file."""
    return SequenceSet(Path(root), read=family, shares=None)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A sequence of the file; its group is its host where that is named, else its letters."""

    id: str
    path: Path
    sequence: Residues
    group: str
    target: Scores | None = None

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """The file, which holds the target too."""
        return {"sequence": (self.path,)} | ({"target": (self.path,)} if self.target else {})

    def load(self) -> Sample:
        """What was read already."""
        return Sample(id=self.id, inputs={"sequence": self.sequence}, target=self.target, group=self.group)


def temperatures(path: Path, *, which: str) -> Iterator[Entry]:
    """The entries whose title says the temperature `which` (`ogt`, `tm`, `topt`).

    Raises `InputError` for a number that is no temperature, or where no title has one.
    """
    some = False
    for number, (title, letters) in enumerate(titled(path), start=1):
        said = {key.lower(): text for key, text in _NUMBER.findall(title)}
        value = _degrees(said.get(which, ""), title=title, path=path)
        if value is None:
            continue
        some = True
        first = _NUMBER.split(title, maxsplit=1)[0].split()
        residues = _residues(letters, name=(first[0].strip("|;,") if first else "") or f"entry{number}", path=path)
        host = _HOST.search(title)
        yield Entry(
            id=residues.name,
            path=path,
            sequence=residues,
            group=host[1] if host else residues.letters,
            target=Scores(values={TEMPERATURES[which]: value}, units={TEMPERATURES[which]: CELSIUS}),
        )
    if not some:
        raise InputError(f"{path} has no title with a temperature such as '{which}=37' (degrees Celsius).")


def family(path: Path) -> Iterator[Entry]:
    """Homologues, each once, without their gaps."""
    seen: set[str] = set()
    for title, aligned in titled(path):
        letters = aligned.translate(_GAPS).upper()
        if letters and letters not in seen:
            seen.add(letters)
            residues = _residues(letters, name=title.split(maxsplit=1)[0], path=path)
            yield Entry(id=residues.name, path=path, sequence=residues, group=letters)
    if not seen:
        raise InputError(f"{path} holds gaps alone.")


class SequenceSet:
    """The entries of a file (`omlab.roles.Dataset`); hosts go to a split whole; without shares all are in `train`."""

    def __init__(self, path: Path, *, read: Callable[[Path], Iterator[Entry]], shares: Shares | None) -> None:
        self.path, self._read, self._shares = path, read, shares

    @cached_property
    def entries(self) -> Mapping[str, Sequence[Entry]]:
        """The entries by split; of two with one id the second is `id-2`. Raises `InputError`."""
        entries, taken = [], Counter[str]()
        for one in self._read(self.path):
            taken[one.id] += 1
            count = taken[one.id]
            entries.append(one if count == 1 else Entry(**{**vars(one), "id": f"{one.id}-{count}"}))
        if self._shares is None:
            return {SPLITS[0]: entries}
        sides = split_by_group((one.group for one in entries), self._shares)
        found = {split: [one for one, side in zip(entries, sides, strict=True) if side == split] for split in SPLITS}
        return {split: members for split, members in found.items() if members}

    def splits(self) -> Sequence[str]:
        """Those of `train`, `val` and `test` that are not empty."""
        return list(self.entries)

    def prepare(self) -> None:
        """Nothing: the file is the user's."""

    def about(self, split: str) -> About:
        """Kinds and numbers."""
        cases = self.cases(split)
        aimed = cases[0].target is not None
        return About(
            inputs={"sequence": Residues.kind},
            target=Scores.kind if aimed else "",
            task="regression" if aimed else "",
            groups=len({case.group for case in cases}),
            cases=len(cases),
        )

    def digest(self, split: str) -> str:
        """Of the sequences and their numbers."""
        return digest_of(
            [(one.id, one.sequence.letters, one.target.to_value() if one.target else None) for one in self.cases(split)]
        )

    def cases(self, split: str) -> Sequence[Entry]:
        """In the order of the file. Raises `UsageError`, `InputError`."""
        if split not in self.entries:
            raise UsageError(f"{self.path} has no split '{split}', but {', '.join(self.entries)}.")
        return self.entries[split]

    def verify(self) -> Sequence[str]:
        """What is wrong with the file, a sentence."""
        try:
            self.splits()
        except InputError as error:
            return [str(error)]
        return []


def _residues(letters: str, *, name: str, path: Path) -> Residues:
    try:
        return Residues(letters=letters, name=name)
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from None


def _degrees(text: str, *, title: str, path: Path) -> float | None:
    """The number of a title; None where it is not known."""
    if text.lower() in ("", "none", "nan", "na"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not COLDEST <= value <= HOTTEST:
        raise InputError(
            f"{path}: '{text[:20]}' of '{title[:40]}' is no temperature in degrees Celsius "
            f"({COLDEST:g} to {HOTTEST:g})."
        )
    return value
