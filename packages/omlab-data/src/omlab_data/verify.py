"""Reading a data set through: what is wrong with its cases, and what is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path

from omlab import progress
from omlab.digests import paths_digest
from omlab.errors import OmlabError
from omlab.payloads import Labelled, Payload, Spatial, describe
from omlab.roles import Case, Sample
from omlab_data.files import missing_files, some


@dataclass(kw_only=True)
class Counts:
    """Of one split: cases, those with a target, groups, and cases by class."""

    cases: int = 0
    targets: int = 0
    groups: set[str] = field(default_factory=set)
    classes: Counter[str] = field(default_factory=Counter)


@dataclass(kw_only=True)
class Findings:
    """What reading a data set found.

    Attributes:
        splits: Counts by split.
        names: Names of the classes in targets, by value.
        problems: What is wrong, one sentence each.
    """

    splits: dict[str, Counts] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def look_through(parts: Mapping[str, Sequence[Case]], *, classes: Mapping[int, str] | None = None) -> Findings:
    """Read every case of every split.

    Found are files that are missing or cannot be read, targets on another grid than all inputs, values that are none of
    `classes` (where these are given) or have several names, the same content under two ids (of payloads that have a
    `digest`, such as images, what is seen; of others the files), groups that lie in several splits, and classes that
    are judged but not learned: in `val` or `test` and in no case of `train`.
    """
    look = _Look(classes=classes or {})
    with progress.bar("reading cases", total=sum(len(cases) for cases in parts.values())) as advance:
        for split, cases in parts.items():
            counts = look.findings.splits.setdefault(split, Counts())
            for case in cases:
                look.take(case, split, counts)
                advance(1)
    return look.end()


class _Look:
    def __init__(self, *, classes: Mapping[int, str]) -> None:
        self.classes = classes
        self.findings = Findings(names=dict(classes))
        self.missing: list[Path] = []
        self.group_splits: dict[str, list[str]] = {}
        self.contents: dict[str, dict[str, list[tuple[str, str]]]] = {}
        """By input and digest: the splits and ids."""

    def take(self, case: Case, split: str, counts: Counts) -> None:
        counts.cases += 1
        if case.group is not None:
            counts.groups.add(case.group)
            splits = self.group_splits.setdefault(case.group, [])
            if split not in splits:
                splits.append(split)
        absent = [path for paths in case.files.values() for path in paths if not path.exists()]
        if absent:
            self.missing += absent
            return
        try:
            sample = case.load()
        except OmlabError as error:
            self.findings.problems.append(f"{case.id}: {error}")
            return
        for name, paths in case.files.items():
            if name != "target":
                digest = getattr(sample.inputs.get(name), "digest", None) or paths_digest(paths)
                self.contents.setdefault(name, {}).setdefault(digest, []).append((split, case.id))
        if sample.target is not None:
            counts.targets += 1
            self._target(sample, sample.target, counts)

    def _target(self, sample: Sample, target: Payload, counts: Counts) -> None:
        placed = [payload for payload in sample.inputs.values() if isinstance(payload, Spatial)]
        if isinstance(target, Spatial) and placed and not any(target.same_grid(payload) for payload in placed):
            self.findings.problems.append(
                f"{sample.id}: the target, a {describe(target)}, lies on another grid than the input: shape, spacing "
                "or position differ."
            )
        if not isinstance(target, Labelled):
            return
        for value, name in target.present().items():
            counts.classes[name] += 1
            known = self.findings.names.setdefault(value, name)
            if self.classes and value not in self.classes:
                self.findings.problems.append(f"{sample.id}: the target has the value {value}, which is no class.")
            elif known != name:
                self.findings.problems.append(
                    f"{sample.id}: the value {value} is called '{name}' in the target, but '{known}' in others."
                )

    def end(self) -> Findings:
        findings = self.findings
        if self.missing:
            sentence = missing_files(self.missing)
            findings.problems.insert(0, sentence[0].upper() + sentence[1:])
        findings.problems += self._twice()
        for group, splits in self.group_splits.items():
            if len(splits) > 1:
                findings.problems.append(f"The group (patient) '{group}' lies in {' and '.join(splits)}.")
        findings.problems += self._never_learned()
        findings.names = dict(sorted(findings.names.items()))
        return findings

    def _never_learned(self) -> Iterator[str]:
        learned = self.findings.splits.get("train", Counts())
        if not learned.targets:
            return
        known = {*learned.classes, *self._no_classes()}
        for split in ("val", "test"):
            strange = [name for name in self.findings.splits.get(split, Counts()).classes if name not in known]
            if strange:
                yield f"What is in {split}, but in no case of train, cannot be learned: {some(strange)}."

    def _no_classes(self) -> Iterator[str]:
        """Names of values that are no class, of which is told already."""
        return (name for value, name in self.findings.names.items() if self.classes and value not in self.classes)

    def _twice(self) -> Iterator[str]:
        """The same content under several ids; what all cases share, such as an atlas, is meant."""
        count = sum(counts.cases for counts in self.findings.splits.values())
        for name, contents in self.contents.items():
            for places in contents.values():
                if len(places) < 2 or (len(places) == count and len(self.contents) > 1):
                    continue
                is_torn = len({split for split, _ in places}) > 1
                ids = [f"{id} ({split})" if is_torn else id for split, id in places]
                where = ": of several splits" if is_torn else ""
                yield f"The input '{name}' has the same content in the cases {some(ids)}{where}."


def some_cases(parts: Mapping[str, Sequence[Case]], *, count: int = 6) -> list[tuple[str, Case]]:
    """The first cases of each split, `count` in all where there are so many, with their splits."""
    rounds = zip_longest(*([(split, case) for case in islice(cases, count)] for split, cases in parts.items()))
    return [entry for entries in rounds for entry in entries if entry is not None][:count]
