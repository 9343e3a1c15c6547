"""A data set in memory, for tests of recipes and adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omlab.roles import About, Case, Sample


@dataclass(frozen=True, kw_only=True)
class HeldCase:
    """A case in memory (`omlab.roles.Case`): it has no files."""

    id: str
    sample: Sample
    group: str | None = None

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """None."""
        return {}

    def load(self) -> Sample:
        """The sample."""
        return self.sample


@dataclass(frozen=True, kw_only=True)
class Held:
    """Samples in memory as a data set (`omlab.roles.Dataset`) with one split, `train`.

    Attributes:
        samples: Of the split.
        says: What `about` says, but for the number of cases.
        name: Stands for the digest.
    """

    samples: Sequence[Sample]
    says: About
    name: str = "held"

    def splits(self) -> Sequence[str]:
        """`train`."""
        return ["train"]

    def prepare(self) -> None:
        """Nothing is to be done."""

    def about(self, split: str) -> About:
        """As it was given, with the number of cases."""
        return replace(self.says, cases=len(self.samples))

    def digest(self, split: str) -> str:
        """The name."""
        return self.name

    def cases(self, split: str) -> Sequence[Case]:
        """Its samples."""
        return [HeldCase(id=sample.id, sample=sample, group=sample.group) for sample in self.samples]

    def verify(self) -> Sequence[str]:
        """Nothing is wrong."""
        return []
