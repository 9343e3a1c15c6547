from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from omlab_prompts.testing import example_prompts, odd_prompts, prompts_for

AFFINE = np.array([[0, 0, 2.0, -15], [-1.5, 0, 0, 22], [0, -1, 0, 40], [0, 0, 0, 1]])
ARRAY = np.zeros((6, 7, 8), np.uint8)
ARRAY[1:4, 2:5, 3:6] = 1
ARRAY[5, 6, 7] = 4
VOLUME = SimpleNamespace(affine=AFFINE, grid=SimpleNamespace(shape=ARRAY.shape), array=ARRAY[None], name="ct.nii.gz")
LABELS = SimpleNamespace(affine=AFFINE, array=ARRAY, labels=[SimpleNamespace(value=1, name="organ")])


def test_the_examples_have_every_facet_that_needs_no_file() -> None:
    facets = {facet for prompts in example_prompts() for facet in prompts.facets()}
    assert facets == {"points", "boxes", "text"}
    assert {prompts.space for prompts in example_prompts()} == {"voxel", "ras", "lps", "pixel"}
    assert all(prompts.objects for prompts in odd_prompts().values())


@pytest.mark.parametrize("space", ["voxel", "ras", "lps"])
def test_each_label_is_pointed_at_in_every_space(space: str) -> None:
    found = prompts_for(VOLUME, LABELS, space=space)  # type: ignore[arg-type]
    assert found.space == space
    assert found.image == "ct.nii.gz"
    found.check_belongs({"volume": VOLUME})
    voxels = found if space == "voxel" else found.in_voxels(AFFINE, shape=ARRAY.shape, image="ct.nii.gz")
    assert [entry.name for entry in voxels.objects] == ["organ", "label 4"]
    for entry, value in zip(voxels.objects, (1, 4), strict=True):
        at = tuple(round(x) for x in entry.points[0].at)
        assert ARRAY[at] == value
        near, far = (tuple(round(x) for x in corner) for corner in (entry.boxes[0].near, entry.boxes[0].far))
        assert (ARRAY[tuple(slice(a, b + 1) for a, b in zip(near, far, strict=True))] == value).all()


def test_without_labels_the_middle_is_pointed_at() -> None:
    assert prompts_for(VOLUME).objects[0].points[0].at == (2, 3, 3)
    empty = SimpleNamespace(array=np.zeros_like(ARRAY))
    assert prompts_for(VOLUME, empty) == prompts_for(VOLUME)
