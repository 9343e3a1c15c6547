"""The payloads: grids that cannot be, and what counts as the same grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omlab.errors import GeometryError
from omlab_volume.labels import complete_labels, default_colour, labels_from_names, present_values
from omlab_volume.volume import Grid, Label, LabelMap, Source, Volume


def test_a_volume_knows_its_grid() -> None:
    affine = np.diag([-0.5, 2.0, 3.0, 1.0])
    volume = Volume(array=np.zeros((2, 4, 5, 6)), affine=affine)
    assert volume.grid.shape == (4, 5, 6)
    assert volume.grid.spacing == (0.5, 2.0, 3.0)
    assert volume.channels == 2
    assert volume.same_grid(LabelMap(array=np.zeros((4, 5, 6), np.uint8), affine=affine))


def test_a_volume_leaves_the_callers_affine_alone() -> None:
    affine = np.eye(4)
    volume = Volume(array=np.zeros((1, 2, 2, 2)), affine=affine)
    affine[0, 3] = 5.0
    assert volume.affine[0, 3] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        volume.affine[0, 3] = 1.0


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.diag([1.0, 0.0, 1.0, 1.0]), "singular"),
        (np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "singular"),
        (np.full((4, 4), np.nan), "finite"),
        (np.eye(3), "4x4"),
    ],
)
def test_an_affine_that_spans_no_space_is_refused(affine: np.ndarray, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        Grid((2, 2, 2), affine)


def test_voxels_of_micrometres_are_a_grid() -> None:
    assert Grid((2, 2, 2), np.diag([1e-5, 1e-5, 1e-5, 1.0])).spacing == pytest.approx((1e-5, 1e-5, 1e-5))


def test_an_axis_without_voxels_is_refused() -> None:
    with pytest.raises(GeometryError, match="at least one voxel"):
        Grid((2, 0, 2), np.eye(4))


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"\(C, I, J, K\)"):
        Volume(array=np.zeros((2, 2, 2)), affine=np.eye(4))
    with pytest.raises(GeometryError, match="integers"):
        LabelMap(array=np.zeros((2, 2, 2), np.float32), affine=np.eye(4))


def test_the_same_grid_is_about_corners_not_only_origins() -> None:
    grid = Grid((100, 100, 100), np.eye(4))
    moved, scaled = np.eye(4), np.eye(4)
    moved[0, 3] = 0.01
    scaled[0, 0] = 1.0001  # 0.01 mm at the far corner
    assert grid.same(Grid((100, 100, 100), np.eye(4)))
    assert not grid.same(Grid((100, 100, 100), moved))
    assert not grid.same(Grid((100, 100, 100), scaled))
    assert not grid.same(Grid((100, 100, 99), np.eye(4)))


def test_default_colours_differ_and_stay() -> None:
    colours = [default_colour(value) for value in range(1, 121)]
    assert colours == [default_colour(value) for value in range(1, 121)]
    for value in range(1, 120):
        assert np.abs(np.subtract(default_colour(value), default_colour(value + 1))).sum() > 60


def test_labels_from_names_start_at_one() -> None:
    labels = labels_from_names(["liver", "spleen"])
    assert [(label.value, label.name) for label in labels] == [(1, "liver"), (2, "spleen")]
    assert labels[0].colour == default_colour(1)


def test_complete_labels_name_what_has_no_label() -> None:
    array = np.zeros((2, 2, 2), np.uint8)
    array[0, 0, 0] = 7
    labelmap = LabelMap(array=array, affine=np.eye(4), labels=[Label(value=3, name="liver", colour=(1, 2, 3))])
    assert [(label.value, label.name) for label in complete_labels(labelmap)] == [(3, "liver"), (7, "label 7")]
    assert [label.value for label in complete_labels(labelmap, present_only=True)] == [7]


def _on(affine: np.ndarray, shape: tuple[int, int, int] = (10, 10, 10), **meta: str) -> Volume:
    source = Source(format="dicom", paths=(Path("a/01.dcm"),), meta=meta, folder=Path("a"))
    return Volume(array=np.zeros((1, *shape), np.float32), affine=affine, source=source)


def test_one_frame_is_over_each_other_and_of_one_reference() -> None:
    fine, coarse = _on(np.eye(4)), _on(np.diag([4.0, 4, 4, 1]), (3, 3, 3))
    away = np.eye(4)
    away[0, 3] = 50
    assert fine.same_frame(coarse)
    assert coarse.same_frame(fine)
    assert not fine.same_grid(coarse)
    assert not fine.same_frame(_on(away))
    assert not fine.same_frame("text")
    assert not fine.same_grid("text")
    assert not _on(np.eye(4), frame_of_reference_uid="1").same_frame(_on(np.eye(4), frame_of_reference_uid="2"))
    assert _on(np.eye(4), frame_of_reference_uid="1").same_frame(fine)


def test_names_and_sizes() -> None:
    volume = _on(np.eye(4))
    assert volume.name == "a"
    assert volume.names == {"a", "01.dcm"}
    assert Volume(array=volume.array, affine=np.eye(4)).name is None
    assert Volume(array=volume.array, affine=np.eye(4)).names == set()
    source = Source(format="nifti", paths=(Path("b/ct.nii.gz"),))
    assert LabelMap(array=np.zeros((2, 2, 2), np.uint8), affine=np.eye(4), source=source).name == "ct.nii.gz"
    assert volume.nbytes == 4000 + 128
    assert volume.is_finite()
    assert not volume.with_array(np.full_like(volume.array, np.nan)).is_finite()


def test_channels_are_stacked_on_one_grid() -> None:
    t1 = Volume(array=np.zeros((1, 2, 3, 4)), affine=np.eye(4), intensity="mr")
    t2 = Volume(array=np.ones((2, 2, 3, 4)), affine=np.eye(4), intensity="mr")
    both = Volume.stack([t1, t2])
    assert both.array[:, 0, 0, 0].tolist() == [0, 1, 1]
    assert both.intensity == "mr"
    assert Volume.stack([t1, Volume(array=t2.array, affine=np.eye(4))]).intensity == "unknown"
    with pytest.raises(GeometryError, match="channels lie on the same voxels"):
        Volume.stack([t1, Volume(array=t2.array, affine=np.diag([2.0, 1, 1, 1]))])


def test_a_label_map_says_what_is_in_it_and_takes_names() -> None:
    array = np.zeros((2, 2, 2), np.uint8)
    array[0, 0], array[1, 1] = 1, 3
    spleen = Label(value=3, name="spleen", colour=(1, 2, 3))
    labelmap = LabelMap(array=array, affine=np.eye(4), labels=[spleen, Label(value=9, name="absent")])
    assert labelmap.present() == {1: "label 1", 3: "spleen"}
    named = labelmap.named({3: "lien", 1: "liver", 2: "kidney"})
    assert [(label.value, label.name) for label in named.labels] == [(1, "liver"), (2, "kidney"), (3, "lien")]
    assert named.labels[2].colour == (1, 2, 3)
    assert named.present() == {1: "liver", 3: "lien"}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_values_that_occur_are_those_of_a_sort(kind: type, order: str) -> None:
    for shape in ((0, 2, 3), (1, 1, 1), (5, 6, 7)):
        array = np.asarray(np.random.default_rng(0).integers(0, 200, shape).astype(kind), order=order)
        assert present_values(array) == set(np.unique(array).tolist()) - {0}
        assert present_values(array[::2, 1:]) == set(np.unique(array[::2, 1:]).tolist()) - {0}
