"""Prompts from what was found: points lie inside, boxes around, and chains are commands."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omlab
from omlab.cli import main
from omlab.errors import InputError, OutputError, UsageError
from omlab_payloads.boxes import Box, Boxes
from omlab_payloads.points import Point, Points
from omlab_prompts.deriving import Wanted, deepest_points, hits, prompts_from
from omlab_prompts.picking import beside, deepest, depth
from omlab_prompts.prompts_json import read
from omlab_volume.volume import Label, LabelMap

AFFINE = np.array([[-0.9, 0, 0, 30], [0, 0, 2.5, -25], [0, 0.8, 0, 10], [0, 0, 0, 1]], dtype=float)
LABELS = (Label(value=1, name="liver"), Label(value=4, name="Spleen"))


def labelmap(affine=AFFINE):
    array = np.zeros((20, 18, 12), np.uint8)
    array[2:11, 3:12, 2:9] = 1
    array[14:20, 12:18, 8:12] = 4  # at the edge
    return LabelMap(array=array, affine=affine, labels=LABELS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 3), st.integers(1, 6))
def test_points_lie_inside_and_beside(seed, axes, count):
    rng = np.random.default_rng(seed)
    region = rng.random(rng.integers(3, 9, axes)) < 0.6
    spacing = rng.uniform(0.5, 3, axes)
    inside = deepest(region, count=count, spacing=spacing)
    assert len(inside) == len(set(inside)) == min(count, int(region.sum()))
    assert all(region[at] for at in inside)
    if inside:
        assert depth(region, spacing=spacing)[inside[0]] == depth(region, spacing=spacing).max()
    outside = beside(region, count=count, spacing=spacing)
    assert not any(region[at] for at in outside)
    assert len(outside) == len(set(outside)) <= count


def test_each_structure_gets_its_deepest_points_in_mm():
    found = labelmap()
    prompts = prompts_from(found, Wanted(points=3, negatives=2))
    assert prompts.space == "ras"
    assert [entry.name for entry in prompts.objects] == ["liver", "Spleen"]
    placed = prompts.in_voxels(AFFINE, shape=found.array.shape, image="any")
    for entry, value in zip(placed.objects, (1, 4), strict=True):
        places = [tuple(round(x) for x in point.at) for point in entry.points]
        assert [found.array[at] == value for at in places] == [True, True, True, False, False]
        assert [point.label for point in entry.points] == [1, 1, 1, 0, 0]
    assert placed.objects[0].points[0].at == pytest.approx((6, 7, 5))


def test_an_image_that_is_read_as_a_label_map_is_told_from_one():
    places = np.indices((40, 48, 44)).sum(axis=0)
    smooth = (60 + 50 * np.sin(places / 9)).astype(np.uint8)
    smooth[:20] = 255  # saturated
    image = LabelMap(array=smooth, affine=AFFINE)
    with pytest.raises(InputError, match=r"^mr.nii.gz has other values .* omlab predict MODEL mr.nii.gz makes\.$"):
        prompts_from(image, Wanted(), name="mr.nii.gz")
    cubes = np.arange(5 * 6 * 4, dtype=np.uint8).reshape(5, 6, 4).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    assert len(prompts_from(LabelMap(array=cubes, affine=AFFINE), Wanted()).objects) == 119


def test_boxes_go_from_edge_to_edge_with_a_margin_and_stay_in_the_image():
    found = labelmap()
    prompts = prompts_from(found, Wanted(points=0, boxes=True, margin=1.8))
    placed = prompts.in_voxels(AFFINE, shape=found.array.shape, image="any")
    (liver,), (spleen,) = (entry.boxes for entry in placed.objects)
    assert liver.near == pytest.approx((1.5 - 2, 2.5 - 1.8 / 0.8, 1.5 - 1.8 / 2.5), abs=0.01)
    assert liver.far == pytest.approx((10.5 + 2, 11.5 + 1.8 / 0.8, 8.5 + 1.8 / 2.5), abs=0.01)
    assert spleen.far == pytest.approx((19.5, 17.5, 11.5), abs=0.01)
    assert prompts.facets() == {"boxes"}


def test_boxes_of_oblique_axes_are_voxels_of_a_named_image():
    turned = AFFINE.copy()
    turned[:3, :3] = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1]]) @ AFFINE[:3, :3]
    assert prompts_from(labelmap(turned), Wanted()).space == "ras"
    with pytest.raises(UsageError, match="--image FILE"):
        prompts_from(labelmap(turned), Wanted(boxes=True))
    prompts = prompts_from(labelmap(turned), Wanted(boxes=True, image="ct.nii.gz"))
    assert (prompts.space, prompts.image) == ("voxel", "ct.nii.gz")
    assert prompts.objects[0].boxes[0].near == pytest.approx((1.5, 2.5, 1.5), abs=0.01)


def test_a_structure_is_chosen_by_its_name():
    prompts = prompts_from(labelmap(), Wanted(labels=["spleen"]))
    assert [entry.name for entry in prompts.objects] == ["Spleen"]
    with pytest.raises(InputError, match="has no structure 'splen': did you mean 'Spleen'"):
        prompts_from(labelmap(), Wanted(labels=["splen"]))
    empty = LabelMap(array=np.zeros((3, 3, 3), np.uint8), affine=np.eye(4))
    with pytest.raises(InputError, match="has no label in it"):
        prompts_from(empty, Wanted())


def test_boxes_and_points_of_detectors_and_localisers():
    boxes = Boxes(
        space="world",
        boxes=[Box(near=(0, 0, 0), far=(2, 4, 6), label="node"), Box(near=(5, 5, 5), far=(6, 6, 6), label="node")],
    )
    prompts = prompts_from(boxes, Wanted(boxes=True, margin=1))
    assert [entry.name for entry in prompts.objects] == ["node 1", "node 2"]
    assert prompts.objects[0].points[0].at == (1, 2, 3)
    assert (prompts.objects[0].boxes[0].near, prompts.objects[0].boxes[0].far) == ((-1, -1, -1), (3, 5, 7))
    points = Points(space="voxel", points=[Point(name="apex", at=(1, 2, 3))])
    prompts = prompts_from(points, Wanted(image="us.nii.gz"))
    assert (prompts.space, prompts.objects[0].points[0].at) == ("voxel", (1, 2, 3))
    with pytest.raises(UsageError, match="no extent"):
        prompts_from(points, Wanted(boxes=True, image="us.nii.gz"))
    with pytest.raises(InputError, match="nothing in it"):
        prompts_from(Boxes(space="world"), Wanted())


def test_label_maps_of_two_dimensions_give_pixels():
    class Flat:
        kind = "labelmap-2d"
        array = np.pad(np.ones((3, 5), np.uint8), 2)
        spacing = (0.5, 0.5)

        def present(self):
            return {1: "lung"}

    prompts = prompts_from(Flat(), Wanted(boxes=True, margin=0.5, image="slice.png"))
    assert (prompts.space, prompts.image) == ("pixel", "slice.png")
    assert prompts_from(Flat(), Wanted()).size == (9, 7)
    assert prompts_from(Flat(), Wanted()).image is None
    assert Flat.array[tuple(int(x) for x in deepest_points(Flat())["lung"].at[::-1])] == 1
    (lung,) = prompts.objects
    assert Flat.array[lung.points[0].at[1].__int__(), lung.points[0].at[0].__int__()] == 1
    assert lung.boxes[0].near == pytest.approx((0.5, 0.5))
    assert lung.boxes[0].far == pytest.approx((7.5, 5.5))


def test_a_reference_says_how_many_points_are_right():
    found = labelmap()
    moved = LabelMap(array=np.roll(found.array, 6, axis=0), affine=AFFINE, labels=LABELS[:1])
    prompts = prompts_from(found, Wanted(points=1))
    assert [row["right"] for row in hits(prompts, found)] == [1, 1]
    assert list(hits(prompts, moved)) == [
        {"object": "liver", "points": 1, "right": 0, "in_target": True},
        {"object": "Spleen", "points": 1, "right": 0, "in_target": False},
    ]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    omlab.write(labelmap(), "seg.nii.gz")

    def command(*arguments):
        monkeypatch.setattr("sys.argv", ["omlab", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return stop.value.code, out, err

    return command


def test_a_label_map_becomes_a_file_of_prompts(run):
    status, out, err = run("prompt-from", "seg.nii.gz", "--against", "seg.nii.gz", "-o", "clicks.json")
    assert status == 0, err
    assert "1 of 1" in out
    assert [entry.name for entry in read(Path("clicks.json")).objects] == ["liver", "Spleen"]
    status, _, err = run("prompt-from", "seg.nii.gz", "--against", "seg.nii.gz", "-o", "clicks.json")
    assert status == 0
    assert "Nothing to do" in err
    assert run("prompt-from", "seg.nii.gz", "--points", 2, "-o", "clicks.json")[0] == 2  # of another request


def test_a_markups_file_is_read_again_as_it_was(run):
    for name in ("clicks.json", "F.mrk.json"):
        status, _, err = run("prompt-from", "seg.nii.gz", "--negatives", 2, "--boxes", "-o", name)
        assert status == 0, err
    first, second = read(Path("clicks.json")), read(Path("F.mrk.json"))
    for one, other in zip(first.objects, second.objects, strict=True):
        assert one.name == other.name
        assert [point.label for point in one.points] == [point.label for point in other.points]
        np.testing.assert_allclose([p.at for p in one.points], [p.at for p in other.points])
        np.testing.assert_allclose(one.boxes[0].far, other.boxes[0].far)
    voxels = Points(space="voxel", points=[Point(name="apex", at=(1, 2, 3))])
    with pytest.raises(OutputError, match="positions in mm"):
        omlab.write(prompts_from(voxels, Wanted(image="a.nii")), "G.mrk.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none.nii.gz",), "none.nii.gz does not exist"),
        (("seg.nii.gz", "--label", "heart"), "has no structure 'heart'"),
        (("seg.nii.gz", "--points", 0), "nothing to make"),
        (("notes.json",), "holds no label map, boxes or points"),
        (("seg.nii.gz", "copy/seg.nii.gz"), "do them apart"),
        (("seg.nii.gz", "other.nii.gz", "--against", "seg.nii.gz"), "reference of one file"),
        (("seg.nii.gz", "-o", "out.nii.gz"), "cannot be written to out.nii.gz"),
        (("seg.nii.gz", "other.nii.gz", "-o", "one.json"), "cannot go into one file"),
    ],
)
def test_a_users_mistake_is_one_sentence(run, arguments, words):
    Path("notes.json").write_text(json.dumps({"kind": "classes"}))
    Path("copy").mkdir()
    for other in ("copy/seg.nii.gz", "other.nii.gz"):
        Path(other).write_bytes(Path("seg.nii.gz").read_bytes())
    status, _, err = run("prompt-from", *arguments)
    assert status in (1, 2)
    assert words in " ".join(err.split())


def test_detections_become_prompts(run):
    boxes = Boxes(space="world", boxes=[Box(near=(0, 0, 0), far=(2, 4, 6), label="node")])
    Path("found.json").write_text(json.dumps({"kind": "boxes", **boxes.to_value()}))
    status, _, err = run("prompt-from", "found.json", "--boxes", "--points", 0, "-o", "boxes.json")
    assert status == 0, err
    assert read(Path("boxes.json")).facets() == {"boxes"}
