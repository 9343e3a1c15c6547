"""Cases are read one by one, prepared once, and known again by their files or by what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omlab import progress
from omlab.errors import GeometryError, InputError, TrainingError
from omlab.roles import Sample
from omlab_train.cache import PreparedCache
from omlab_volume.inference.preprocess import Plan
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.training.cases import PreparedCase, prepared_cases, training_arrays
from omlab_volume.training.images import prepared_images
from omlab_volume.training.patches import foreground_locations
from omlab_volume.volume import LabelMap, Volume

PLAN = Plan(spacing=(2.0, 1.5, 1.5), patch_size=(8, 8, 8))
READ: list[str] = []


@pytest.fixture
def cache(tmp_path: Path) -> PreparedCache:
    READ.clear()
    return PreparedCache(tmp_path / "cache")


class Held:
    """A case in memory, without files."""

    group = None
    files: Mapping[str, Sequence[Path]] = {}

    def __init__(self, sample: Sample) -> None:
        self.id, self.sample = sample.id, sample

    def load(self) -> Sample:
        READ.append(self.id)
        return self.sample


@dataclass(frozen=True)
class Filed:
    """A case of the n-th example, told by a file."""

    id: str
    path: Path
    number: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        return {"volume": (self.path,)}

    def load(self) -> Sample:
        READ.append(self.id)
        return replace(samples()[self.number], id=self.id)


def samples() -> list[Sample]:
    pairs = zip(example_volumes(), example_labelmaps(), strict=True)
    return [Sample(id=f"case-{n}", inputs={"volume": v}, target=labels) for n, (v, labels) in enumerate(pairs)]


def test_cases_are_prepared_with_a_bar(cache: PreparedCache) -> None:
    opened: list[tuple[str, int | None]] = []
    steps: list[int] = []

    @contextmanager
    def sink(description: str, total: int | None) -> Iterator[progress.Advance]:
        opened.append((description, total))
        yield lambda n=1, /, **figures: steps.append(n)

    with progress.shown_by(sink):
        cases = prepared_cases([Held(sample) for sample in samples()], PLAN, channels=1, cache=cache)
    assert opened == [("preparing cases", 3)]
    assert sum(steps) == 3
    for found, sample in zip(cases, samples(), strict=True):
        assert found.id == sample.id
        assert isinstance(found.image, np.memmap)
        assert found.image.dtype == np.float32
        assert found.image.shape[1:] == found.labels.shape
        assert abs(float(found.image.mean())) < 1e-3
        assert set(np.unique(found.labels)) == {0, 1, 2}
        expected = foreground_locations(found.labels, np.random.default_rng(0))
        assert list(found.locations) == list(expected) == [1, 2]
        assert all(np.array_equal(found.locations[value], expected[value]) for value in expected)
        # The organ is 70 HU and the bone 500 HU above the soft tissue: image and labels lie on one another.
        assert found.image[0][found.labels == 2].mean() > found.image[0][found.labels == 1].mean() + 0.3


def test_a_case_with_files_is_read_once(cache: PreparedCache, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    cases = [Filed("a", tmp_path / "a"), Filed("b", tmp_path / "b", number=1)]
    first = prepared_cases(cases, PLAN, cache=cache)
    assert sorted(READ) == ["a", "b"]
    second = prepared_cases(cases, PLAN, cache=cache)
    assert sorted(READ) == ["a", "b"]
    assert [case.digest for case in first] == [case.digest for case in second]
    assert first[0].digest != first[1].digest


def test_what_counts_prepares_a_case_anew(cache: PreparedCache, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("a")
    case = Filed("a", path)
    prepared_cases([case], PLAN, cache=cache)
    changed: list[tuple[Filed, Plan, dict[str, Any]]] = [
        (case, replace(PLAN, spacing=(3.0, 1.5, 1.5)), {}),
        (case, PLAN, {"classes": [2, 1]}),
        (replace(case, settings={"series": 2}), PLAN, {}),
        (replace(case, number=1), PLAN, {}),
    ]
    for count, (other, plan, settings) in enumerate(changed, start=2):
        prepared_cases([other], plan, cache=cache, **settings)
        assert len(READ) == count
    path.write_text("another")
    prepared_cases([case], PLAN, cache=cache)
    assert len(READ) == len(changed) + 2


def test_a_case_that_is_not_plain_is_known_by_what_it_holds(cache: PreparedCache, tmp_path: Path) -> None:
    first, second, _ = samples()
    one, other = (prepared_cases([Held(sample)], PLAN, cache=cache)[0] for sample in (first, second))
    assert one.digest != other.digest
    path = tmp_path / "a"
    path.write_text("a")
    arrays = [Filed("a", path, settings={"shift": np.full(9999, shift)}) for shift in (1.0, 2.0)]
    READ.clear()
    for case in arrays:
        prepared_cases([case], PLAN, cache=cache)
    assert READ == ["a", "a"], "values that have no JSON cannot tell cases apart, so they are read"


def test_label_values_become_class_numbers(cache: PreparedCache) -> None:
    first = samples()[0]
    assert isinstance(first.target, LabelMap)
    remote = replace(first.target, array=np.array([0, 300, 12], dtype=np.uint16)[first.target.array])
    (plain,) = prepared_cases([Held(first)], PLAN, cache=cache)
    (mapped,) = prepared_cases([Held(replace(first, target=remote))], PLAN, classes=[300, 12], cache=cache)
    assert np.array_equal(plain.labels, mapped.labels)
    with pytest.raises(TrainingError, match=r"Case 'case-0' has the label 12, which is not one of the classes \[300\]"):
        prepared_cases([Held(replace(first, target=remote))], PLAN, classes=[300], cache=cache)


def test_what_is_not_annotated_is_a_number_of_its_own(cache: PreparedCache) -> None:
    first = samples()[0]
    assert isinstance(first.target, LabelMap)
    marked = replace(first.target, array=np.array([0, 7, 255], dtype=np.uint8)[first.target.array])
    (case,) = prepared_cases([Held(replace(first, target=marked))], PLAN, classes=[7], ignored=[255], cache=cache)
    assert set(np.unique(case.labels)) == {0, 1, 2}
    assert list(case.locations) == [1], "no patch is placed on it"
    nothing = replace(marked, array=np.where(marked.array == 7, 255, marked.array))
    with pytest.raises(TrainingError, match="no labelled voxel"):
        prepared_cases([Held(replace(first, target=nothing))], PLAN, classes=[7], ignored=[255], cache=cache)


def test_the_volume_is_found_by_name_or_because_it_is_alone(cache: PreparedCache) -> None:
    sample = samples()[0]
    volume = sample.inputs["volume"]
    assert isinstance(volume, Volume)
    brighter = volume.with_array(volume.array * 2 + 100)
    (by_name,) = prepared_cases([Held(sample)], PLAN, cache=cache)
    (alone,) = prepared_cases([Held(replace(sample, inputs={"ct": volume}))], PLAN, cache=cache)
    two = replace(sample, inputs={"ct": volume, "late": brighter})
    (chosen,) = prepared_cases([Held(two)], PLAN, input="ct", cache=cache)
    assert by_name.digest == alone.digest == chosen.digest
    with pytest.raises(TrainingError, match=r"has 'ct' \(volume\), 'late' \(volume\) .* named 'volume' where"):
        prepared_cases([Held(two)], PLAN, cache=cache)


def test_unusable_cases_are_named(cache: PreparedCache) -> None:
    first, second, _ = samples()
    target = first.target
    assert isinstance(target, LabelMap)
    empty = replace(target, array=np.zeros_like(target.array))
    moved = replace(target, affine=target.affine + np.eye(4)[:, [1, 2, 3, 0]] * [[0, 0, 0, 5.0]])

    def prepare(sample: Sample, **settings: Any) -> None:
        prepared_cases([Held(second), Held(sample)], PLAN, cache=cache, **settings)

    with pytest.raises(TrainingError, match="training split is empty"):
        prepared_cases([], PLAN, cache=cache)
    with pytest.raises(TrainingError, match=r"Case 'case-0' has 'volume' \(volume\) and no target"):
        prepare(replace(first, target=None))
    with pytest.raises(TrainingError, match=r"Case 'case-0' .* a volume as its target"):
        prepare(replace(first, target=first.inputs["volume"]))
    with pytest.raises(TrainingError, match=r"Case 'case-0' has no labelled voxel"):
        prepare(replace(first, target=empty))
    with pytest.raises(GeometryError, match=r"Case 'case-0': the labels .* are not on the grid of their image"):
        prepare(replace(first, target=second.target))
    with pytest.raises(GeometryError, match=r"Case 'case-0'"):
        prepare(replace(first, target=moved))
    with pytest.raises(InputError, match=r"Case 'case-1': .*takes 2 channel"):
        prepare(first, channels=2)
    with pytest.raises(TrainingError, match="Case 'x' has an image of shape"):
        training_arrays(np.zeros((1, 2, 2, 2), np.float32), np.ones((2, 2, 3), np.uint8), id="x")


def test_payloads_are_not_touched(cache: PreparedCache) -> None:
    sample = samples()[0]
    volume, target = sample.inputs["volume"], sample.target
    assert isinstance(volume, Volume)
    assert isinstance(target, LabelMap)
    before, labels = volume.array.copy(), target.array.copy()
    prepared_cases([Held(sample)], PLAN, cache=cache)
    assert np.array_equal(volume.array, before)
    assert np.array_equal(target.array, labels)


def test_arrays_in_memory_are_a_case_too() -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 2, 3] = 7
    arrays = training_arrays(np.ones((2, 4, 5, 6)), labels, id="x")
    case = PreparedCase(id="x", arrays=arrays)
    assert case.image.dtype == np.float32
    assert {value: voxels.tolist() for value, voxels in case.locations.items()} == {7: [[1, 2, 3]]}


def test_images_without_labels_are_prepared_once_and_cut(cache: PreparedCache, tmp_path: Path) -> None:
    path = tmp_path / "scan.nii"
    path.write_bytes(b"scan")
    plan = Plan(spacing=None, patch_size=(8, 8, 8), normalisation="none")
    for _ in range(2):
        found = prepared_images([Filed(id="scan", path=path)], plan, clip=(-100, 60), cache=cache)
    assert READ == ["scan"]
    image = found[0].image
    assert isinstance(image, np.memmap)
    assert (image.min(), image.max()) == (-100, 60)
    assert len(found[0].digest) == 64
    uncut = prepared_images([Filed(id="scan", path=path)], plan, cache=cache)[0]
    assert uncut.image.max() > 400
    assert uncut.digest != found[0].digest
    other = Held(Sample(id="none", inputs={"labels": example_labelmaps()[0]}, target=None))
    with pytest.raises(TrainingError, match=r"Case 'none' has 'labels' \(labelmap\); training needs a volume"):
        prepared_images([other], plan, cache=cache)
    with pytest.raises(TrainingError, match="no case"):
        prepared_images([], plan, cache=cache)
