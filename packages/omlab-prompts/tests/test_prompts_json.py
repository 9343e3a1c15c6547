from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omlab.errors import InputError, OutputError, UsageError
from omlab_prompts.prompts import Box, Mask, Object, Point, Prompts
from omlab_prompts.prompts_json import PromptsJson, read, write
from omlab_prompts.testing import example_prompts

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


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_prompts=prompts)
def test_what_is_written_is_read(tmp_path: Path, given_prompts: Prompts) -> None:
    for mask in (mask for entry in given_prompts.objects for mask in entry.masks):
        (tmp_path / mask.file).touch()
    write(given_prompts, tmp_path / "p.json")
    found = read(tmp_path / "p.json")
    assert found.model_dump() == given_prompts.model_dump()
    for mask in (
        mask for entry in found.in_world([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]).objects for mask in entry.masks
    ):
        assert found.mask_path(mask) == tmp_path / mask.file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON (it ends or goes wrong at line 1, column 2)"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "holds no prompts but [1]"),
        ({"space": "ras", "objects": []}, "there are no objects"),
        ({"space": "ras", "objects": 5}, "'objects' must be a list, not 5"),
        ({"space": "ras", "objects": [5]}, "object 1: must be a group of fields in braces, not 5"),
        ({"space": "ras"}, "'objects' is missing"),
        ({"space": "ras", "objects": [{"name": "a"}]}, "prompts file: 'a' has no prompt"),
        ({"space": "ras", "objects": [{"name": 5, "text": ["b"]}]}, "object 1: 'name' must be a text"),
        ({"space": "voxel", "objects": [{"name": "a", "text": ["b"]}]}, "give 'image'"),
        (
            {"space": "mni", "objects": [{"name": "a", "text": ["b"]}]},
            "'space' must be voxel, ras, lps or pixel, not \"mni\"",
        ),
        (
            {"space": "ras", "objects": [{"name": "a", "points": [{"at": [1, 2, 3]}, {"at": [1, 2]}]}]},
            "point 2 of 'a': 'at' must be three finite numbers, not [1, 2]",
        ),
        ({"space": "ras", "objects": [{"name": "a", "points": [{}]}]}, "point 1 of 'a': 'at' is missing"),
        ({"space": "ras", "objects": [{"name": "a", "points": [[1, 2, 3]]}]}, "point 1 of 'a': must be a group"),
        (
            {"space": "ras", "objects": [{"name": "a", "points": [{"at": [1, 2, 3], "label": 2}]}]},
            "'label' must be 1 (in the object) or 0 (outside it), not 2",
        ),
        ({"space": "ras", "objects": [{"name": "a", "points": [{"at": [1, 2, 3], "colour": 0}]}]}, "no field 'colour'"),
        ('{"space": "ras", "objects": [{"name": "a", "points": [{"at": [1, 2, NaN]}]}]}', "finite"),
        ({"space": "ras", "objects": [{"name": "a", "text": ["b"]}, {"name": "a", "text": ["c"]}]}, "called 'a'"),
        ({"space": "ras", "objects": [{"name": "a", "text": ["b", ""]}]}, "text 2 of 'a': must be a text"),
        (
            {"space": "ras", "objects": [{"name": "a", "boxes": [{"near": [1, 2, 3], "far": [0, 9, 9]}]}]},
            "box 1 of 'a': near [1.0, 2.0, 3.0] lies beyond far",
        ),
        ({"space": "ras", "objects": [{"name": "a", "masks": [{"file": "../m.nii"}]}]}, "in the folder"),
        ({"space": "ras", "objects": [{"name": "a", "masks": [{"file": "m.nii"}]}]}, "the mask m.nii, but there is no"),
        ({"version": 2, "space": "ras", "objects": [{"name": "a", "text": ["b"]}]}, "'version' must be 1, not 2"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_entry(tmp_path: Path, content: Any, words: str) -> None:
    path = written(tmp_path / "p.json", content)
    with pytest.raises(InputError) as error:
        read(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert "pydantic" not in str(error.value)
    assert "Input should" not in str(error.value)


def test_a_file_that_is_absent_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prompts file"):
        read(tmp_path / "absent.json")
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)
    with pytest.raises(OutputError, match="prompts cannot be written"):
        write(example_prompts()[0], written(tmp_path / "file", "") / "p.json")


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    content = json.dumps({"space": "ras", "objects": [{"name": "a", "text": ["Ä"]}]}, ensure_ascii=False)
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(content.encode(encoding))
        assert read(path).objects[0].text == ("Ä",)
    path.write_bytes(b"\xff" + content.encode())
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read(path)


def test_prompts_given_as_a_value_are_those_of_a_file() -> None:
    value = {"space": "ras", "objects": [{"name": "a", "masks": [{"file": "m.nii"}]}]}
    found = Prompts.from_value(value)
    with pytest.raises(UsageError, match=r"mask m\.nii lies beside a prompts file, but these prompts come from none"):
        found.mask_path(found.objects[0].masks[0])
    with pytest.raises(UsageError, match="These are no prompts: 'objects' is missing"):
        Prompts.from_value({"space": "ras"})
    with pytest.raises(UsageError, match="These are no prompts: "):
        Prompts.from_value("a liver")


def test_no_markups_file_is_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="markups file of 3D Slicer"):
        PromptsJson().write(example_prompts()[0], tmp_path / "a.mrk.json", inputs={})
    assert list(tmp_path.iterdir()) == []


def test_thousands_of_clicks_and_objects_are_read_in_a_moment(tmp_path: Path) -> None:
    clicks = [{"at": [n, n / 2, 1], "label": n % 2} for n in range(3000)]
    many = {"space": "ras", "objects": [{"name": "a", "points": clicks}]}
    each = {"space": "ras", "objects": [{"name": f"object {n}", "points": clicks[:1]} for n in range(3000)]}
    slicer = {"markups": [fiducials(*([n, 1, 2] for n in range(3000)))]}
    for content in (many, each, slicer):
        path = written(tmp_path / "p.json", content)
        began = time.process_time()
        world = read(path).in_world()
        world.in_voxels(
            [[1, 0, 0, -5000], [0, 1, 0, -5000], [0, 0, 1, -5000], [0, 0, 0, 1]], shape=(9000,) * 3, image="a"
        )
        assert time.process_time() - began < 0.5


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
    assert found.objects[0].facets() == {"points", "boxes"}
    assert found.objects[0].boxes == (Box(near=(8, 19, 27), far=(12, 21, 33)),)


@pytest.mark.parametrize(
    ("markup", "word"),
    [
        (fiducials(), "no point that has been set"),
        (fiducials([1, 2, 3], type="Line"), "type 'Line'"),
        (fiducials([1, 2, 3], coordinateSystem="IJK"), "'IJK', not LPS or RAS"),
        (fiducials([1, 2, 3], coordinateUnits="cm"), "cm, not mm"),
        (fiducials([1, 2]), r"the position of its point 1 is \[1, 2\], not 3 numbers"),
        (fiducials([1, 2, 10**400]), "not 3 numbers"),
        (fiducials([1, 2, True]), "not 3 numbers"),
        (fiducials(controlPoints=[5]), "its point 1 is 5, not a point with a position"),
        (fiducials(controlPoints=[{}]), "the position of its point 1 is missing"),
        (fiducials(controlPoints=5), "controlPoints are 5, not a list"),
        ({"type": "Fiducial"}, "controlPoints"),
        ({"type": "ROI"}, "its center is missing"),
        ({"type": "ROI", "orientation": [1, 2]}, "its orientation is .*, not 9 numbers"),
        ({"type": "ROI", "roiType": "Sphere"}, 'a "Sphere", not a Box'),
        ({"type": "ROI", "center": [0, 0, 0], "size": [1, 1, 1], "orientation": [0.8, -0.6, 0] * 3}, "rotated"),
        ("text", "not a list of markups"),
    ],
)
def test_a_slicer_file_that_cannot_be_prompts_is_named(tmp_path: Path, markup: Any, word: str) -> None:
    with pytest.raises(InputError, match=word) as error:
        read(written(tmp_path / "m.mrk.json", {"markups": [markup]}))
    assert "m.mrk.json" in str(error.value)
    assert str(error.value).count(". ") == 0  # one sentence
