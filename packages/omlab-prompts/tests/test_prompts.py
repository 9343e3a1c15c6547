from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omlab.errors import GeometryError, InputError, OutputError, UsageError
from omlab_prompts.prompts import Box, Mask, Object, Point, Prompts, json_schema, read, write
from omlab.payloads import Payload

OBLIQUE = [[-0.7, 0.2, 0.1, 90.0], [0.1, 0.9, -0.3, -120.0], [0.0, 0.4, 2.5, 30.0], [0, 0, 0, 1]]
FLIPPED = [[-2.0, 0, 0, 38.0], [0, 2.0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 1]]

coordinates = st.tuples(*[st.floats(-1e3, 1e3)] * 3)
points = st.builds(Point, at=coordinates, label=st.sampled_from([0, 1]))
boxes = st.builds(
    lambda a, b: Box(near=tuple(map(min, a, b)), far=tuple(map(max, a, b))),  # type: ignore[arg-type]
    coordinates,
    coordinates,
)
words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
objects = st.builds(
    Object,
    name=words,
    points=st.lists(points, min_size=1, max_size=3).map(tuple),
    boxes=st.lists(boxes, max_size=2).map(tuple),
    masks=st.lists(st.builds(Mask, file=words, value=st.integers(1, 9)), max_size=1).map(tuple),
    text=st.lists(words, max_size=1).map(tuple),
)
prompts = st.builds(
    Prompts,
    space=st.sampled_from(["voxel", "ras", "lps"]),
    image=words,
    objects=st.lists(objects, min_size=1, max_size=3, unique_by=lambda entry: entry.name).map(tuple),
)


def click(*at: float, space: str = "voxel", image: str | None = "ct.nii.gz") -> Prompts:
    entry = {"name": "liver", "points": [{"at": at}]}
    return Prompts.model_validate({"space": space, "image": image, "objects": [entry]})


def at(found: Prompts) -> tuple[float, float, float]:
    return found.objects[0].points[0].at


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_prompts_are_a_payload() -> None:
    assert isinstance(click(1, 2, 3), Payload)
    assert Prompts.kind == "prompts"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_prompts=prompts)
def test_what_is_written_is_read(tmp_path: Path, given_prompts: Prompts) -> None:
    write(given_prompts, tmp_path / "p.json")
    assert read(tmp_path / "p.json") == given_prompts


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


def test_a_kind_that_the_model_does_not_take_is_refused() -> None:
    click(1, 1, 1).require(("finetune", "points"), model="sammed3d")
    with pytest.raises(UsageError, match="'liver' is prompted by points, which m does not take: it takes boxes, text"):
        click(1, 1, 1).require(("text", "boxes"), model="m")
    with pytest.raises(UsageError, match="it takes no prompts"):
        click(1, 1, 1).require((), model="m")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "is not JSON"),
        ("[1]", "a list"),
        ({"space": "ras", "objects": []}, "objects: there are none"),
        ({"space": "ras", "objects": [{"name": "a"}]}, "'a' has no prompt"),
        ({"space": "voxel", "objects": [{"name": "a", "text": ["b"]}]}, "give 'image'"),
        ({"space": "mni", "objects": [{"name": "a", "text": ["b"]}]}, "space"),
        ({"space": "ras", "objects": [{"name": "a", "points": [{"at": [1, 2]}]}]}, "objects.0.points.0.at"),
        ({"space": "ras", "objects": [{"name": "a", "points": [{"at": [1, 2, 3], "colour": 0}]}]}, "colour"),
        ('{"space": "ras", "objects": [{"name": "a", "points": [{"at": [1, 2, NaN]}]}]}', "finite"),
        ({"space": "ras", "objects": [{"name": "a", "text": ["b"]}, {"name": "a", "text": ["c"]}]}, "called 'a'"),
        ({"space": "ras", "objects": [{"name": "a", "boxes": [{"near": [1, 2, 3], "far": [0, 9, 9]}]}]}, "beyond far"),
        ({"space": "ras", "objects": [{"name": "a", "masks": [{"file": "../m.nii"}]}]}, "in the folder"),
        ({"version": 2, "space": "ras", "objects": [{"name": "a", "text": ["b"]}]}, "version"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_entry(tmp_path: Path, content: Any, word: str) -> None:
    path = written(tmp_path / "p.json", content)
    with pytest.raises(InputError) as error:
        read(path)
    assert word in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_absent_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prompts file"):
        read(tmp_path / "absent.json")
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)
    with pytest.raises(OutputError, match="prompts cannot be written"):
        write(click(1, 2, 3), written(tmp_path / "file", "") / "p.json")


def test_the_schema_describes_a_file() -> None:
    schema = json_schema()
    assert set(schema["required"]) == {"space", "objects"}
    assert schema["properties"]["space"]["enum"] == ["voxel", "ras", "lps"]
    json.dumps(schema)


def fiducials(*positions: list[float], **changes: Any) -> dict[str, Any]:
    controls = [{"id": str(n), "label": f"F-{n}", "position": place} for n, place in enumerate(positions)]
    return {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": controls} | changes


def test_a_slicer_point_list_is_one_object_in_world_coordinates(tmp_path: Path) -> None:
    entry = fiducials([10, 20, 30], [1, 2, 3], [0, 0, 0])
    entry["controlPoints"][1]["description"] = "Negative"
    entry["controlPoints"][2]["positionStatus"] = "preview"
    found = read(written(tmp_path / "liver.mrk.json", {"@schema": "markups", "markups": [entry]}))
    assert found.space == "ras"
    clicks = (Point(at=(-10, -20, 30), label=1), Point(at=(-1, -2, 3), label=0))
    assert found.objects == (Object(name="liver", points=clicks),)


def test_slicer_lists_and_boxes_of_one_name_are_one_object(tmp_path: Path) -> None:
    roi = {
        "type": "ROI",
        "name": "liver",
        "coordinateSystem": "RAS",
        "center": [10, 20, 30],
        "size": [2, 4, 6],
        "orientation": [0, -1, 0, 1, 0, 0, 0, 0, 1],  # a quarter turn: the first two sizes change places
    }
    spleen = fiducials([0, 0, 0], coordinateSystem="RAS", coordinateUnits="mm")
    markups = [fiducials([1, 1, 1], name="liver"), roi, spleen]
    found = read(written(tmp_path / "organs.mrk.json", {"markups": markups}))
    assert [entry.name for entry in found.objects] == ["liver", "organs-3"]
    assert found.objects[0].kinds == {"points", "boxes"}
    assert found.objects[0].boxes == (Box(near=(8, 19, 27), far=(12, 21, 33)),)


@pytest.mark.parametrize(
    ("markup", "word"),
    [
        (fiducials(), "no point that has been set"),
        (fiducials([1, 2, 3], type="Line"), "type 'Line'"),
        (fiducials([1, 2, 3], coordinateSystem="IJK"), "'IJK', not LPS or RAS"),
        (fiducials([1, 2, 3], coordinateUnits="cm"), "cm, not mm"),
        (fiducials([1, 2]), "cannot be a prompt"),
        ({"type": "Fiducial"}, "controlPoints"),
        ({"type": "ROI", "center": [0, 0, 0], "size": [1, 1, 1], "orientation": [0.8, -0.6, 0] * 3}, "rotated"),
        ("text", "not a list of markups"),
    ],
)
def test_a_slicer_file_that_cannot_be_prompts_is_named(tmp_path: Path, markup: Any, word: str) -> None:
    with pytest.raises(InputError, match=word) as error:
        read(written(tmp_path / "m.mrk.json", {"markups": [markup]}))
    assert "m.mrk.json" in str(error.value)


def test_importing_prompts_needs_no_numpy() -> None:
    probe = "import omlab_prompts.prompts, sys; sys.exit(bool({'numpy', 'torch', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
