from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from omlab.errors import GeometryError
from omlab_prompts.prompts import Object, Point, Prompts, Space

AFFINE = [[2, 0, 0, -10], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]


@dataclass
class Image:
    """An input that lies on a lattice of 10 voxels a side, and has a name where it comes from a file."""

    kind = "image"
    name: Any = None
    affine: Any = None
    shape: tuple[int, ...] = (10, 10, 10)
    names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.affine = AFFINE if self.affine is None else self.affine


class Words:
    kind = "words"
    name = "report.txt"


def click(*at: float, space: Space = "voxel", image: str | None = "ct.nii.gz") -> Prompts:
    return Prompts(space=space, image=image, objects=(Object(name="liver", points=(Point(at=at),)),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompts", "inputs"),
    [
        (click(1, 2, 3), {"volume": Image("ct.nii.gz")}),
        (click(1, 2, 3, image="/data/ct.nii.gz"), {"volume": Image(Path("elsewhere/ct.nii.gz"))}),
        (click(1, 2, 3, image="b.dcm"), {"volume": Image("series", names=frozenset({"series", "a.dcm", "b.dcm"}))}),
        (click(1, 2, 3, image="/x/series/"), {"volume": Image("series", names=frozenset({"a.dcm", "b.dcm"}))}),
        (click(1, 2, 3), {"volume": Image()}),  # made in memory: nothing is known of its name
        (click(1, 2, 3), {"fixed": Image("mr.nii.gz", affine=[]), "moving": Image("ct.nii.gz")}),
        (click(-10, 0, 0, space="ras", image=None), {"volume": Image("ct.nii.gz")}),
        (click(10, 0, 0, space="lps", image="mr.nii.gz"), {"volume": Image("ct.nii.gz")}),  # one space, two series
        (click(-10, 0, 0, space="ras", image=None), {"fixed": Image(shape=(1, 1, 1)), "moving": Image()}),
        (click(99, 0, 0, space="ras", image=None), {"words": Words()}),
        (click(99, 0, 0, space="ras", image=None), {}),
    ],
)
def test_prompts_that_belong_to_an_input_are_taken(prompts: Prompts, inputs: dict[str, Any]) -> None:
    prompts.check_belongs(inputs)


@pytest.mark.parametrize(
    ("prompts", "inputs", "words"),
    [
        (click(1, 2, 3), {"volume": Image("series", names=frozenset({"a.dcm"}))}, "not of series: give them in world"),
        (click(1, 2, 3), {"volume": Image("mr.nii.gz")}, r"voxels of ct\.nii\.gz, not of mr\.nii\.gz"),
        (click(1, 2, 3), {"a": Image("b"), "c": Image("a")}, r"not of a or b: give them in world coordinates"),
        (
            click(10, 2, 3),
            {"volume": Image("ct.nii.gz")},
            r"outside ct\.nii\.gz: voxel \(10\.0, 2\.0, 3\.0\) of a grid of 10 x",
        ),
        (click(10, 2, 3), {"volume": Image()}, r"outside ct\.nii\.gz"),
        (click(10, 0, 0, space="ras", image=None), {"volume": Image("mr.nii")}, r"outside mr\.nii: .* space 'ras'"),
        (click(10, 0, 0, space="ras", image=None), {"volume": Image()}, "outside the input 'volume'"),
        (click(9, 0, 0, space="ras", image="a"), {"a": Image("a", shape=(1, 1, 1)), "b": Image("b")}, "outside a"),
        (click(1, 1, 1, space="ras"), {"volume": Image(affine=[[0.0] * 4] * 4)}, "singular"),
    ],
)
def test_prompts_of_another_image_or_place_are_refused(prompts: Prompts, inputs: dict[str, Any], words: str) -> None:
    with pytest.raises(GeometryError, match=words):
        prompts.check_belongs(inputs)


def test_the_shape_is_that_of_the_grid_where_there_is_one() -> None:
    volume = Image("ct.nii.gz", shape=(1, 99, 99, 99))
    volume.grid = Image(shape=(10, 10, 10))  # type: ignore[attr-defined]
    click(9, 9, 9).check_belongs({"volume": volume})
    with pytest.raises(GeometryError, match="10 x 10 x 10"):
        click(11, 9, 9).check_belongs({"volume": volume})
