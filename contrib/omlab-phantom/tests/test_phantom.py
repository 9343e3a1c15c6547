"""The phantom: anatomy where a reader expects it, files that can be trusted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omlab.errors import InputError, OutputError, UsageError
from omlab_phantom import render
from omlab_phantom.anatomy import draw
from omlab_phantom.dataset import PhantomDataset
from omlab_phantom.labels import AORTA, KIDNEY_LEFT, KIDNEY_RIGHT, LABELS, LIVER, SPINE, SPLEEN

SCALE = 0.4


def dataset(root: Path, **changes: Any) -> PhantomDataset:
    return PhantomDataset(**{"root": root, "seed": 3, "counts": {"train": 2, "test": 1}, "scale": SCALE, **changes})


def files(data: PhantomDataset, split: str) -> list[Path]:
    """Images and label maps of the first case of a split."""
    case = data.cases(split)[0]
    return [case.image, case.labels]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PhantomDataset:
    data = dataset(tmp_path_factory.mktemp("phantom"))
    data.prepare()
    return data


@pytest.fixture(scope="module")
def scans() -> list[render.Scan]:
    generators = [np.random.default_rng([9, case]) for case in range(8)]
    return [render.scan(draw(rng), rng, scale=SCALE) for rng in generators]


def apply_affine(affine: np.ndarray, voxels: Any) -> np.ndarray:
    return np.asarray(voxels) @ affine[:3, :3].T + affine[:3, 3]


def centroid(scan: render.Scan, label: int) -> np.ndarray:
    voxels = np.argwhere(scan.labelmap.array == label)
    return np.asarray(apply_affine(scan.labelmap.affine, voxels).mean(axis=0))


def test_organs_lie_where_they_belong_in_the_world(scans: list[render.Scan]) -> None:
    for scan in scans:
        liver, spleen, left, right, aorta, spine = (centroid(scan, label.value) for label in LABELS)
        assert spleen[0] < left[0] + 30 < aorta[0] + 30, "RAS+: x grows to the patient's right"
        assert left[0] < spine[0] < right[0]
        assert spine[0] < liver[0]
        assert spine[1] < aorta[1] < liver[1], "y grows to the front"
        assert left[2] < spleen[2], "z grows to the head"
        assert right[2] < liver[2]


def test_every_organ_has_a_plausible_size(scans: list[render.Scan]) -> None:
    millilitres = {LIVER: (600, 3000), SPLEEN: (80, 600), KIDNEY_LEFT: (60, 300), KIDNEY_RIGHT: (60, 300)}
    limits = {**millilitres, AORTA: (25, 200), SPINE: (150, 900)}
    for scan in scans:
        voxel = abs(np.linalg.det(scan.labelmap.affine[:3, :3])) / 1000
        for label, (low, high) in limits.items():
            assert low < (scan.labelmap.array == label).sum() * voxel < high, (label, scan.labelmap.grid)


def test_intensities_are_those_of_ct(scans: list[render.Scan]) -> None:
    for scan in scans:
        hu, labels = scan.volume.array[0], scan.labelmap.array
        assert hu.dtype == np.int16
        assert (hu < -900).mean() > 0.1, "air around the body"
        assert 60 < np.median(hu[labels == LIVER]) < 140
        assert np.median(hu[labels == SPINE]) > np.median(hu[labels == KIDNEY_LEFT])
        assert np.median(hu[labels == AORTA]) > np.median(hu[labels == LIVER])
        assert 4 < np.std(hu[labels == SPLEEN]) < 150, "noise and partial volume"


def test_scans_vary_in_grid_and_storage_order(scans: list[render.Scan]) -> None:
    grids = [scan.volume.grid for scan in scans]
    assert len({grid.shape for grid in grids}) > 5
    assert len({tuple(np.abs(grid.affine[:3, :3]).argmax(axis=0)) for grid in grids}) == 2
    assert len({tuple(np.sign(grid.affine[:3, :3]).sum(axis=0)) for grid in grids}) > 1
    for scan in scans:
        assert scan.volume.same_grid(scan.labelmap)
        assert max(scan.volume.grid.spacing) / min(scan.volume.grid.spacing) > 1.1


def test_storage_order_moves_no_voxel_in_the_world() -> None:
    shape, affine = (3, 4, 5), np.diag([2.0, 3.0, 5.0, 1.0])
    affine[:3, 3] = [7, -8, 9]
    array = np.arange(60).reshape(shape)
    where = {int(array[tuple(ijk)]): apply_affine(affine, ijk) for ijk in np.ndindex(shape)}
    for order, signs in render._ORDERS:
        stored, moved = render._stored(array, order, signs), render._moved(affine, shape, order, signs)
        for ijk in np.ndindex(stored.shape):
            np.testing.assert_allclose(apply_affine(moved, ijk), where[int(stored[ijk])])


def test_partial_volume_is_seen_at_edges() -> None:
    rng = np.random.default_rng(1)
    scan = render.scan(draw(rng), rng, scale=SCALE)
    hu = scan.volume.array[0]
    between = (hu > -700) & (hu < -300)
    assert 0.005 < between.mean() < 0.2


def test_samples_come_from_files(made: PhantomDataset) -> None:
    assert list(made.splits()) == ["train", "test"]
    assert [case.id for case in made.cases("train")] == ["train-01", "train-02"]
    (case,) = made.cases("test")
    sample = case.load()
    assert sample.id == sample.group == "test-01"
    volume = sample.inputs["volume"]
    assert volume.intensity == "hu"
    assert volume.same_grid(sample.target)
    assert [label.name for label in sample.target.labels] == [label.name for label in LABELS]
    assert all(label.code is not None and label.colour is not None for label in sample.target.labels)
    assert set(np.unique(sample.target.array)) == {0, 1, 2, 3, 4, 5, 6}
    about = made.about("test")
    assert about.classes == {label.value: label.name for label in LABELS}
    assert (about.inputs, about.target, about.task, about.cases, about.groups) == (
        {"volume": "volume"},
        "labelmap",
        "segmentation",
        1,
        1,
    )


def test_the_same_seed_gives_the_same_bytes_and_more_cases_change_none(made: PhantomDataset, tmp_path: Path) -> None:
    again = dataset(tmp_path, counts={"train": 1, "test": 2})
    again.prepare()
    for split in ("train", "test"):
        for one, two in zip(files(made, split), files(again, split), strict=True):
            assert one.read_bytes() == two.read_bytes()
    assert again.digest("test") != made.digest("test")
    contents = [case.image.read_bytes() for split in ("train", "test") for case in again.cases(split)]
    assert all(one != two for one, two in pairwise(contents))
    other = dataset(tmp_path / "other", seed=4, counts={"train": 1, "test": 0})
    other.prepare()
    assert files(other, "train")[0].read_bytes() != files(made, "train")[0].read_bytes()


def test_prepare_makes_only_what_is_missing_or_damaged(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    assert len(data.verify()) == 6
    data.prepare()
    assert list(data.verify()) == []
    first, second = data.cases("train")
    image, labels = second.image, second.labels
    whole, untouched = image.read_bytes(), first.image.stat().st_mtime_ns
    image.write_bytes(whole[:-1])
    labels.unlink()
    said = list(data.verify())
    assert [str(image) in said[0], "damaged" in said[0], "missing" in said[1]] == [True, True, True]
    data.prepare()
    assert list(data.verify()) == []
    assert image.read_bytes() == whole
    assert first.image.stat().st_mtime_ns == untouched


def test_an_interrupted_prepare_leaves_nothing_partial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, scan, calls = dataset(tmp_path), render.scan, []

    def interrupted(*args: Any, **kwargs: Any) -> render.Scan:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return scan(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(render, "scan", interrupted)
        with pytest.raises(KeyboardInterrupt):
            data.prepare()
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["images/train-01.nii.gz", "labels/train-01.nii.gz", "phantom.json"]
    data.prepare()
    assert list(data.verify()) == []


def test_mistakes_are_sentences(made: PhantomDataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no split 'tests': did you mean 'test'"):
        made.cases("tests")
    with pytest.raises(InputError, match="call prepare"):
        dataset(tmp_path).cases("train")[0].load()
    with pytest.raises(UsageError, match=r"holds a phantom of recipe 1, seed 3, .* seed 5"):
        dataset(made.root, seed=5).prepare()
    (tmp_path / "phantom.json").write_text("{")
    with pytest.raises(InputError, match=r"phantom\.json is damaged"):
        dataset(tmp_path).verify()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        dataset(tmp_path / "file").prepare()
