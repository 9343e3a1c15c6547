"""The data set `abdomen-phantom`: NIfTI files under a root folder, made when they are wanted.

    <root>/images/train-01.nii.gz      HU
    <root>/labels/train-01.nii.gz      the classes of `omlab_phantom.labels`
    <root>/phantom.json                what was made, with the sha256 of every file

A case depends on the seed, the scale, its split and its number alone, so more cases can be added later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from omlab import About, Payload, Sample, progress
from omlab.card_schema import DatasetCard
from omlab.datasets import check_split
from omlab.digests import digest_of, file_digest
from omlab.errors import InputError, UsageError
from omlab.files import replacing, write_json, writing
from omlab_phantom import anatomy, render
from omlab_phantom.labels import LABELS
from omlab_volume.io.nifti import Nifti
from omlab_volume.volume import LabelMap, Volume

INPUT = "volume"
_MANIFEST = "phantom.json"
_RECIPE = 1
"""Raised whenever the same settings come to give other files."""


def open(card: DatasetCard, *, root: Path, settings: Mapping[str, Any]) -> PhantomDataset:
    """Entry of the card."""
    return PhantomDataset(
        root=root,
        seed=settings["seed"],
        counts={"train": settings["train"], "test": settings["test"], "val": settings["val"]},
        scale=settings["scale"],
    )


@dataclass(frozen=True, kw_only=True)
class PhantomCase:
    """One phantom: a patient of its own."""

    id: str
    image: Path
    labels: Path

    @property
    def group(self) -> str:
        """The patient."""
        return self.id

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """The image and the label map."""
        return {INPUT: (self.image,), "target": (self.labels,)}

    def load(self) -> Sample:
        """Read it from its files. Raises `InputError` where they were not made yet."""
        for path in (self.image, self.labels):
            if not path.exists():
                raise InputError(f"{path} is not there: call prepare() first, which makes the phantom.")
        volume = cast(Volume, Nifti().read(self.image, kind="volume"))
        labelmap = cast(LabelMap, Nifti().read(self.labels, kind="labelmap"))
        return Sample(
            id=self.id,
            inputs={INPUT: replace(volume, intensity="hu")},
            target=replace(labelmap, labels=LABELS),
            group=self.group,
        )


class PhantomDataset:
    """A data set of phantoms (`omlab.roles.Dataset`). `counts` says how many cases each split has."""

    def __init__(self, *, root: Path, seed: int, counts: Mapping[str, int], scale: float) -> None:
        self.root = Path(root)
        self._seed = seed
        self._scale = float(scale)
        self._counts = dict(counts)

    def splits(self) -> Sequence[str]:
        """`train`, `test` and, where it has cases, `val`: no other split's cases depend on how many those are."""
        return [split for split, count in self._counts.items() if count]

    def about(self, split: str) -> About:
        """Kinds, classes and numbers."""
        count = len(self.cases(split))
        return About(
            inputs={INPUT: "volume"},
            target="labelmap",
            task="segmentation",
            classes={label.value: label.name for label in LABELS},
            channels={INPUT: ("CT",)},
            groups=count,
            cases=count,
        )

    def digest(self, split: str) -> str:
        """Of what was asked for, and the sizes of the files."""
        files = [path for case in self.cases(split) for paths in case.files.values() for path in paths]
        sizes = [(self._name(path), path.stat().st_size if path.is_file() else None) for path in files]
        return digest_of([self._recipe(), sizes])

    def cases(self, split: str) -> Sequence[PhantomCase]:
        """`train-01`, `train-02`, ... Raises `UsageError` for an unknown split."""
        check_split(split, self._counts, of="The phantom")
        return [self._case(f"{split}-{number:02d}") for number in range(1, self._counts[split] + 1)]

    def prepare(self) -> None:
        """Make the cases that are missing or damaged; files that are whole stay as they are.

        Raises:
            UsageError: `root` holds a phantom with another seed or scale.
            OutputError: The files cannot be written.
        """
        digests = self._digests()
        wanted = self._all_cases()
        with progress.bar("making phantoms", total=len(wanted)) as advance:
            for case in wanted:
                paths = (case.image, case.labels)
                if any(self._problem(path, digests) for path in paths):
                    self._make(case)
                    digests |= {self._name(path): file_digest(path) for path in paths}
                    with writing("The list of the phantom's files", self.root / _MANIFEST):
                        write_json(self.root / _MANIFEST, {**self._recipe(), "files": digests})
                advance()

    def verify(self) -> Sequence[str]:
        """What is wrong with the files, one sentence each."""
        digests = self._digests()
        problems = (self._problem(path, digests) for case in self._all_cases() for path in (case.image, case.labels))
        return [problem for problem in problems if problem]

    def _all_cases(self) -> list[PhantomCase]:
        return [case for split in self._counts for case in self.cases(split)]

    def _case(self, id: str) -> PhantomCase:
        name = f"{id}.nii.gz"
        return PhantomCase(id=id, image=self.root / "images" / name, labels=self.root / "labels" / name)

    def _recipe(self) -> dict[str, Any]:
        return {"recipe": _RECIPE, "seed": self._seed, "scale": self._scale}

    def _digests(self) -> dict[str, str]:
        """The sha256 of the files made so far, by their path under `root`."""
        manifest = self.root / _MANIFEST
        if not manifest.exists():
            return {}
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
            made = {key: found[key] for key in self._recipe()}
            digests = {str(name): str(digest) for name, digest in found["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{manifest} is damaged ({error}): remove it, and the phantom is made again.") from error
        if made != self._recipe():
            raise UsageError(
                f"{self.root} holds a phantom of {_described(made)}, and {_described(self._recipe())} is asked for: "
                "name another root, or remove that folder."
            )
        return digests

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _problem(self, path: Path, digests: Mapping[str, str]) -> str | None:
        if not path.is_file():
            return f"{path} is missing."
        if self._name(path) not in digests:
            return f"{path} is not in {_MANIFEST}: it was not made to its end, or by something else."
        if file_digest(path) != digests[self._name(path)]:
            return f"{path} is damaged or was changed: its sha256 is not the one in {_MANIFEST}."
        return None

    def _make(self, case: PhantomCase) -> None:
        split, _, number = case.id.partition("-")
        rng = np.random.default_rng([self._seed, list(self._counts).index(split), int(number)])
        made = render.scan(anatomy.draw(rng), rng, scale=self._scale)
        payloads: list[Payload] = [made.volume, made.labelmap]
        for path, payload in zip((case.image, case.labels), payloads, strict=True):
            with writing("The phantom", path), replacing(path) as temporary:
                Nifti().write(payload, temporary, inputs={})


def _described(recipe: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in recipe.items())
