"""A data set of example payloads: what recipes and adapters are tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from omlab import About, Sample
from omlab.digests import digest_of
from omlab.errors import UsageError
from omlab.payloads import Inputs, Payload
from omlab_testkit.compare import as_array, fingerprint, is_array

SPLITS = ("train",)


@dataclass(frozen=True, eq=False, kw_only=True)
class ExampleCase:
    """A case that is there already (`omlab.roles.Case`)."""

    id: str
    inputs: Inputs
    target: Payload | None = None
    group: str | None = None
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def load(self) -> Sample:
        """The sample."""
        return Sample(id=self.id, inputs=self.inputs, target=self.target, group=self.group)


@dataclass(frozen=True, eq=False, kw_only=True)
class ExampleData:
    """Cases in one split, `train` (`omlab.roles.Dataset`)."""

    samples: Sequence[ExampleCase]
    kinds: Mapping[str, str]
    target: str = ""
    classes: Mapping[int, str] = field(default_factory=dict)
    task: str = ""

    def splits(self) -> Sequence[str]:
        """`train`."""
        return SPLITS

    def prepare(self) -> None:
        """Nothing is to be made."""

    def about(self, split: str) -> About:
        """What the examples are. Raises `UsageError` for another split."""
        count = len(self.cases(split))
        return About(
            inputs=self.kinds, target=self.target, task=self.task, classes=self.classes, groups=count, cases=count
        )

    def digest(self, split: str) -> str:
        """Of what the examples hold."""
        return digest_of([fingerprint([case.inputs, case.target]) for case in self.cases(split)])

    def cases(self, split: str) -> Sequence[ExampleCase]:
        """The cases. Raises `UsageError` for another split."""
        if split not in SPLITS:
            raise UsageError(f"The examples have no split '{split}': they have {', '.join(SPLITS)}.")
        return list(self.samples)

    def verify(self) -> Sequence[str]:
        """Nothing can be wrong."""
        return ()


def example_data(inputs: Sequence[Inputs], targets: Sequence[Any] | None) -> ExampleData:
    """A data set of inputs, and their targets where there are some."""
    samples = [
        ExampleCase(id=f"example-{n}", inputs=case, target=targets[n] if targets else None, group=f"group-{n}")
        for n, case in enumerate(inputs)
    ]
    kinds = {name: value.kind for case in inputs for name, value in case.items()}
    return ExampleData(
        samples=samples, kinds=kinds, target=targets[0].kind if targets else "", classes=classes_of(targets or ())
    )


def classes_of(targets: Sequence[Any]) -> dict[int, str]:
    """The classes in targets, as far as payloads tell: by `labels`, by `names` (in order or by value), or by values."""
    known: dict[int, str] = {}
    for target in targets:
        if hasattr(target, "labels"):
            known |= {int(label.value): str(label.name) for label in target.labels}
        elif isinstance(getattr(target, "names", None), Mapping):
            known |= {int(value): str(name) for value, name in target.names.items()}
        elif hasattr(target, "names"):
            known |= {number: str(name) for number, name in enumerate(target.names)}
        elif is_array(array := getattr(target, "array", None)) and as_array(array).dtype.kind in "biu":
            known |= {int(value): f"class {value}" for value in np.unique(as_array(array))}
    return dict(sorted(known.items()))
