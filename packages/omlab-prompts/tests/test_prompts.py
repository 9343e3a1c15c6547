from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import GeometryError
from omlab.payloads import Dependent, Facetted, Payload
from omlab_prompts.prompts import Box, Object, Prompts, json_schema

OBLIQUE = [[-0.7, 0.2, 0.1, 90.0], [0.1, 0.9, -0.3, -120.0], [0.0, 0.4, 2.5, 30.0], [0, 0, 0, 1]]
FLIPPED = [[-2.0, 0, 0, 38.0], [0, 2.0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 1]]

coordinates = st.tuples(*[st.floats(-1e3, 1e3)] * 3)


def click(*at: float, space: str = "voxel", image: str | None = "ct.nii.gz") -> Prompts:
    entry = {"name": "liver", "points": [{"at": at}]}
    return Prompts.model_validate({"space": space, "image": image, "objects": [entry]})


def at(found: Prompts) -> tuple[float, float, float]:
    return found.objects[0].points[0].at


def test_prompts_are_a_payload() -> None:
    assert isinstance(click(1, 2, 3), Payload)
    assert isinstance(click(1, 2, 3), Facetted)
    assert isinstance(click(1, 2, 3), Dependent)
    assert Prompts.kind == "prompts"


@settings(max_examples=40, deadline=None)
@given(place=st.tuples(*[st.floats(0, 9)] * 3), affine=st.sampled_from([OBLIQUE, FLIPPED]))
def test_voxels_come_back_from_the_world(place: tuple[float, float, float], affine: list[list[float]]) -> None:
    world = click(*place).in_world(affine)
    assert world.space == "ras"
    assert at(world.in_voxels(affine, shape=(10, 10, 10), image="ct.nii.gz")) == pytest.approx(place, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(place=coordinates)
def test_lps_turns_the_first_two_axes(place: tuple[float, float, float]) -> None:
    assert at(click(*place, space="lps", image=None).in_world()) == (-place[0], -place[1], place[2])


def test_a_flip_of_the_image_moves_the_voxel_but_not_the_place() -> None:
    plain = [[2.0, 0, 0, 0], *FLIPPED[1:]]  # the same 20 voxels, from the other end
    world = click(3, 4, 5).in_world(plain)
    assert at(world.in_voxels(FLIPPED, shape=(20, 20, 20), image="flipped.nii.gz")) == (16.0, 4.0, 5.0)


def test_a_box_stays_a_box_whose_corners_are_in_order() -> None:
    entry = Object(name="a", boxes=(Box(near=(1, 2, 3), far=(4, 5, 6)),))
    given_prompts = Prompts(space="voxel", image="ct.nii.gz", objects=(entry,))
    assert given_prompts.in_world(FLIPPED).objects[0].boxes[0] == Box(near=(30, 4, 9), far=(36, 10, 18))


def test_the_affine_may_be_a_numpy_array() -> None:
    np = pytest.importorskip("numpy")
    assert at(click(1, 1, 1).in_world(np.array(FLIPPED))) == (36.0, 2.0, 3.0)


def test_voxels_of_another_image_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"voxels of ct\.nii\.gz, not of mr\.nii\.gz"):
        click(1, 1, 1).in_voxels(FLIPPED, shape=(20, 20, 20), image="mr.nii.gz")
    assert at(click(1, 1, 1).in_voxels(FLIPPED, shape=(20, 20, 20), image="data/ct.nii.gz")) == (1, 1, 1)


@pytest.mark.parametrize(("place", "inside"), [((-0.5, 0, 19.5), True), ((-0.6, 0, 0), False), ((0, 20, 0), False)])
def test_positions_outside_the_image_are_refused(place: tuple[float, float, float], inside: bool) -> None:
    if inside:
        click(*place).in_voxels(FLIPPED, shape=(20, 20, 20), image="ct.nii.gz")
        return
    with pytest.raises(GeometryError, match=r"'liver' lies outside ct\.nii\.gz: voxel .* of a grid of 20 x 20 x 20"):
        click(*place).in_voxels(FLIPPED, shape=(20, 20, 20), image="ct.nii.gz")


@pytest.mark.parametrize("affine", [[[1, 0, 0, 0], [2, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], [[math.nan] * 4] * 4])
def test_a_singular_affine_is_refused(affine: list[list[float]]) -> None:
    with pytest.raises(GeometryError, match="singular"):
        click(1, 1, 1).in_world(affine)
    with pytest.raises(GeometryError, match="singular"):
        click(1, 1, 1, space="ras").in_voxels(affine, shape=(9, 9, 9), image="ct.nii.gz")


def test_voxels_need_an_affine_to_be_placed() -> None:
    with pytest.raises(GeometryError, match="its affine is needed"):
        click(1, 1, 1).in_world()


def test_the_schema_describes_a_file() -> None:
    schema = json_schema()
    assert set(schema["required"]) == {"space", "objects"}
    assert schema["properties"]["space"]["enum"] == ["voxel", "ras", "lps", "pixel"]
    json.dumps(schema)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("omlab_prompts.plugin", {"numpy", "torch", "rich", "click", "pydantic"}),
        ("omlab_prompts.testing", {"numpy", "torch", "rich", "click"}),
    ],
)
def test_importing_is_cheap(module: str, heavy: set[str]) -> None:
    probe = f"import {module}, sys; print(*set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    assert not heavy & set(done.stdout.split())
