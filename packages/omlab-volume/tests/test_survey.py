"""The survey of volumes: medians along anatomical axes, labelled intensities, a sample of many cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from omlab import Sample
from omlab.errors import GeometryError, InputError
from omlab_volume.training import survey as module
from omlab_volume.training.survey import survey
from omlab_volume.volume import LabelMap, Volume

PERMUTED = np.array([[0, 0, 2.0, 0], [-3.0, 0, 0, 0], [0, 5.0, 0, 0], [0, 0, 0, 1]])
"""i runs to the back in steps of 3 mm, j to the head of 5, k to the right of 2."""


@dataclass(frozen=True)
class MadeCase:
    id: str
    make: Callable[[], Sample]
    group: str | None = None
    files: dict[str, tuple[Path, ...]] = field(default_factory=dict)

    def load(self) -> Sample:
        return self.make()


def case(
    id: str,
    *,
    shape: tuple[int, int, int] = (4, 5, 6),
    affine: np.ndarray | None = None,
    value: float = 10,
    channels: int = 1,
    labelled: int | None = 8,
    intensity: str = "hu",
    target_shape: tuple[int, int, int] | None = None,
) -> MadeCase:
    def make() -> Sample:
        grid = np.diag([1.0, 1, 1, 1]) if affine is None else affine
        volume = Volume(array=np.full((channels, *shape), value), affine=grid, intensity=intensity)  # type: ignore[arg-type]
        target = None
        if labelled is not None:
            labels = np.zeros(target_shape or shape, np.uint8)
            labels.ravel()[:labelled] = 1
            target = LabelMap(array=labels, affine=grid)
        return Sample(id=id, inputs={"image": volume}, target=target)

    return MadeCase(id, make)


def test_medians_are_along_the_axes_of_the_body() -> None:
    cases = [case("a", shape=(30, 40, 50), affine=PERMUTED), case("b"), case("c", shape=(4, 5, 8))]
    facts = survey(cases, "image")
    assert facts["spacings"] == [[5, 3, 2], [1, 1, 1], [1, 1, 1]]
    assert facts["shapes"] == [[40, 30, 50], [6, 5, 4], [8, 5, 4]]
    assert (facts["spacing"], facts["shape"], facts["cases"]) == ([1, 1, 1], [8, 5, 4], 3)
    assert json.loads(json.dumps(facts)) == facts


def test_intensities_are_those_of_labelled_voxels_and_cases_weigh_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VOXELS_PER_CASE", 10)
    facts = survey([case("a", value=0, labelled=100), case("b", value=100, labelled=10)], "image")
    assert facts["foreground"] == {"mean": 50, "std": 50, "percentile_00_5": 0, "percentile_99_5": 100}
    assert facts["intensities"] == ["hu"]
    assert survey([case("a", labelled=0)], "image")["foreground"] is None
    assert survey([case("a", labelled=None), case("b", intensity="mr")], "image")["intensities"] == ["hu", "mr"]


def test_of_many_cases_the_same_sample_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CASES", 5)
    cases = [case(f"c{n}", shape=(n + 1, 2, 2)) for n in range(40)]
    facts = survey(cases, "image")
    assert facts["cases"] == len(facts["shapes"]) == 5
    assert sorted(survey(cases[::-1], "image")["shapes"]) == sorted(facts["shapes"])


def test_what_cannot_be_trained_on_is_one_sentence() -> None:
    with pytest.raises(InputError, match="'a' has 1 and 'b' has 2"):
        survey([case("a"), case("b", channels=2)], "image")
    with pytest.raises(GeometryError, match="label map of case 'a' lies on another grid"):
        survey([case("a", target_shape=(4, 5, 7))], "image")
    with pytest.raises(InputError, match="no case"):
        survey([], "image")
