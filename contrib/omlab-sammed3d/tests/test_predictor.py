from __future__ import annotations

import gc
import json
import weakref
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from omlab.errors import GeometryError, InputError, OmlabWarning, UsageError
from omlab_prompts.prompts import Prompts
from omlab_sammed3d.network import SamMed3d, SamMed3dConfig, untrained
from omlab_sammed3d.predictor import Predictor
from omlab_sammed3d.windows import z_normalise
from omlab_testkit import golden
from omlab_volume.volume import LabelMap, Volume

TINY = SamMed3dConfig(image_size=32, patch=8, width=24, depth=2, heads=3, global_blocks=(1,), window=3, prompt_width=48)
RAS = np.diag([1.5, 1.5, 1.5, 1.0])


class Bright(SamMed3d):
    """Segments what is brighter than the middle of the cube's range, whatever is clicked; keeps its rounds."""

    def __init__(self, *, image_size: int = 32, boxes: bool = False) -> None:
        changes = {"image_size": image_size, "point_embeddings": 4 if boxes else 2}
        super().__init__(SamMed3dConfig(**{**vars(TINY), **changes}))
        self.image_encoder = nn.Identity()  # type: ignore[assignment]
        self.rounds: list[tuple[list[list[int]], list[int], bool]] = []
        self.boxes: list[list[float] | None] = []
        self.eval()

    def decode(self, embedding: Tensor, *, previous: Tensor | None = None, **prompts: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        points, labels, boxes = (prompts[name] for name in ("points", "labels", "boxes"))
        self.rounds.append(
            ([], [], previous is not None)
            if points is None
            else (points[0].tolist(), labels[0].tolist(), previous is not None)
        )
        self.boxes.append(None if boxes is None else boxes[0].tolist())
        return functional.avg_pool3d(embedding, 2) - (embedding.max() + embedding.min()) / 2, torch.zeros(1, 4)


def clicks(*at: tuple[float, ...], labels: list[int] | None = None, **changes: Any) -> Prompts:
    points = [{"at": list(place), "label": label} for place, label in zip(at, labels or [1] * len(at), strict=True)]
    content = {"space": "voxel", "image": "ct.nii.gz", "objects": [{"name": "ball", "points": points}], **changes}
    return Prompts.model_validate(content)


def ball(
    shape: tuple[int, int, int], *, affine: np.ndarray, centre: tuple[float, ...], radius: float
) -> tuple[Volume, np.ndarray]:
    """A ball of 100 with a soft rim in nothing; `centre` in voxels, `radius` in mm."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    apart = (np.stack(np.indices(shape), axis=-1) - np.array(centre)) * spacing
    distance = np.linalg.norm(apart, axis=-1)
    array = 100 / (1 + np.exp(distance - radius))
    return Volume(array=array[None].astype(np.float32), affine=affine), distance < radius


def dice(labels: LabelMap, truth: np.ndarray) -> float:
    found = labels.array == 1
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


AFFINES = {
    "ras": RAS,
    "lps, thick slices": np.array([[-0.8, 0, 0, 40], [0, -0.8, 0, 9], [0, 0, 4.0, -7], [0, 0, 0, 1.0]]),
    "axes exchanged": np.array([[0, 0, 2.0, -3], [-1.0, 0, 0, 5], [0, 1.2, 0, 0], [0, 0, 0, 1.0]]),
    "oblique": np.array([[1.4, 0.3, 0, 1], [-0.3, 1.4, 0, 2], [0, 0, -2.0, 90], [0, 0, 0, 1.0]]),
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
@pytest.mark.parametrize("space", ["voxel", "ras", "lps"])
def test_a_ball_is_found_where_it_is(affine: np.ndarray, space: str) -> None:
    centre = (22.0, 17.0, 9.0)
    volume, truth = ball((44, 36, 20), affine=affine, centre=centre, radius=11)
    at = np.array(centre) if space == "voxel" else (affine @ [*centre, 1])[:3]
    if space == "lps":
        at = at * [-1, -1, 1]
    labels = Predictor(Bright()).predict(volume, clicks(tuple(at), space=space))
    assert labels.same_grid(volume)
    assert [label.name for label in labels.labels] == ["ball"]
    assert dice(labels, truth) > 0.9


def test_what_is_larger_than_a_window_is_continued_and_blended() -> None:
    volume, truth = ball((70, 60, 60), affine=RAS, centre=(34, 30, 30), radius=30)  # 40 voxels across, a window has 32
    network = Bright()
    labels = Predictor(network).predict(volume, clicks((34, 30, 30)))
    assert len(network.rounds) == 27
    assert {tuple(points[0]) for points, _, _ in network.rounds} == set(product((8, 16, 24), repeat=3))
    found = labels.array == 1
    assert found[15:54, 30, 30].all()  # beyond the first window, 18 to 49, on both sides
    assert dice(labels, truth) > 0.85


def test_what_fits_into_a_window_needs_one() -> None:
    network = Bright()
    volume, _ = ball((40, 40, 40), affine=RAS, centre=(20, 20, 20), radius=9)
    Predictor(network).predict(volume, clicks((20, 20, 20)))
    assert network.rounds == [([[16, 16, 16]], [1], False)]


def test_each_round_has_one_click_more_and_the_logits_of_the_last() -> None:
    network = Bright()
    volume, _ = ball((40, 40, 40), affine=RAS, centre=(20, 20, 20), radius=9)
    Predictor(network).predict(volume, clicks((20, 20, 20), (24, 20, 20), (20, 30, 20), labels=[1, 1, 0]))
    places = [[16, 16, 16], [20, 16, 16], [16, 26, 16]]
    assert network.rounds == [(places[:n], [1, 1, 0][:n], n > 1) for n in (1, 2, 3)]


def test_clicks_out_of_reach_are_warned_about() -> None:
    volume, _ = ball((40, 40, 90), affine=RAS, centre=(20, 20, 20), radius=9)
    with pytest.warns(OmlabWarning, match="1 of 2 clicks of 'ball' are too far"):
        Predictor(Bright()).predict(volume, clicks((20, 20, 20), (20, 20, 80)))


def boxed(near: tuple[float, ...], far: tuple[float, ...], *points: dict[str, Any], **changes: Any) -> Prompts:
    entry = {"name": "ball", "boxes": [{"near": near, "far": far}], "points": points}
    return clicks((0, 0, 0), objects=[entry], **changes)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
def test_a_box_puts_its_middle_into_the_middle_of_the_cube(affine: np.ndarray) -> None:
    volume, truth = ball((44, 36, 20), affine=affine, centre=(22, 17, 9), radius=11)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    half = 12 / spacing
    low, high = np.array((22, 17, 9)) - half, np.array((22, 17, 9)) + half
    network = Bright(boxes=True)
    labels = Predictor(network).predict(volume, boxed(tuple(low), tuple(high)))
    assert network.rounds[0] == ([], [], False)
    assert network.boxes[0] == [8, 8, 8, 24, 24, 24]
    assert dice(labels, truth) > 0.9


def test_a_box_goes_before_the_clicks_and_with_them() -> None:
    network = Bright(boxes=True)
    volume, _ = ball((40, 40, 40), affine=RAS, centre=(20, 20, 20), radius=9)
    points = [{"at": (20, 20, 28), "label": 0}, {"at": (22, 20, 20)}]
    Predictor(network).predict(volume, boxed((14, 14, 14), (26, 26, 26), *points))
    places = [[16, 16, 24], [18, 16, 16]]
    assert network.rounds == [([], [], False), (places[:1], [0], True), (places, [0, 1], True)]
    assert network.boxes == [[10, 10, 10, 22, 22, 22]] * 3


def test_a_box_in_world_coordinates_is_the_box_in_voxels() -> None:
    volume, _ = ball((44, 36, 20), affine=AFFINES["lps, thick slices"], centre=(22, 17, 9), radius=11)
    corners = [(volume.affine @ [*at, 1])[:3] for at in ((12, 8, 6), (30, 26, 12))]
    near, far = np.min(corners, axis=0), np.max(corners, axis=0)
    first, second = Bright(boxes=True), Bright(boxes=True)
    one = Predictor(first).predict(volume, boxed((12, 8, 6), (30, 26, 12)))
    other = Predictor(second).predict(volume, boxed(tuple(near), tuple(far), space="ras"))
    assert first.boxes == second.boxes
    np.testing.assert_array_equal(one.array, other.array)


def test_a_box_larger_than_the_cubes_is_cut_and_warned_about() -> None:
    network = Bright(boxes=True)
    volume, _ = ball((90, 40, 40), affine=RAS, centre=(45, 20, 20), radius=9)
    with pytest.warns(OmlabWarning, match="box of 'ball' is larger than what the model sees"):
        Predictor(network).predict(volume, boxed((2, 10, 10), (88, 30, 30)))
    assert network.boxes[0] == [0, 6, 6, 31, 26, 26]


def test_a_click_beyond_the_first_cube_opens_the_next() -> None:
    network = Bright()
    volume, _ = ball((70, 40, 40), affine=RAS, centre=(30, 20, 20), radius=9)
    Predictor(network).predict(volume, clicks((30, 20, 20), (50, 20, 20)))
    assert [points for points, _, _ in network.rounds] == [[[16, 16, 16]], [[8, 16, 16]], [[8, 16, 16], [28, 16, 16]]]


@settings(max_examples=8, deadline=None)
@given(flips=st.tuples(*[st.booleans()] * 3), order=st.permutations([0, 1, 2]), shift=st.integers(-50, 50))
def test_turning_the_image_and_its_prompts_turns_the_mask(
    flips: tuple[bool, bool, bool], order: list[int], shift: int
) -> None:
    network = untrained(TINY).requires_grad_(False)
    generator = np.random.default_rng(0)
    array = generator.normal(size=(20, 18, 16)).astype(np.float32)
    affine = np.diag([2.0, 1.5, 3.0, 1.0])
    prompts = clicks((9, 8, 7), (12, 9, 6), labels=[1, 0])
    labels = Predictor(network).predict(Volume(array=array[None], affine=affine), prompts)
    assert 0 < labels.array.mean() < 1

    axes = [n for n in range(3) if flips[n]]
    to_old = np.eye(4)[:, [*order, 3]]  # voxels of the turned image in voxels of the old one
    for axis in axes:
        to_old[axis] *= -1
        to_old[axis, 3] = array.shape[axis] - 1
    turned = Volume(array=np.flip(array, axes).transpose(order)[None], affine=affine @ to_old)
    turned.affine  # noqa: B018 - the grid is checked when it is made
    moved = np.eye(4)
    moved[0, 3] = shift  # the table elsewhere
    turned = Volume(array=turned.array, affine=moved @ turned.affine)
    to_new = np.linalg.inv(to_old)
    places = [tuple((to_new @ [*point.at, 1])[:3]) for point in prompts.objects[0].points]
    again = Predictor(network).predict(turned, clicks(*places, labels=[1, 0]))
    np.testing.assert_array_equal(again.array, np.flip(labels.array, axes).transpose(order))


def test_two_objects_have_labels_in_their_order() -> None:
    volume, _ = ball((40, 40, 40), affine=RAS, centre=(20, 20, 20), radius=9)
    entries = [{"name": name, "points": [{"at": [20, 20, 20]}]} for name in ("first", "second")]
    labels = Predictor(Bright()).predict(volume, clicks((0, 0, 0), objects=entries))
    assert [(label.value, label.name) for label in labels.labels] == [(1, "first"), (2, "second")]
    assert set(np.unique(labels.array)) == {0, 1}  # both claim the same voxels equally: the first keeps them


def test_prediction_is_the_same_each_time_and_leaves_the_image_alone() -> None:
    network = untrained(TINY)
    volume, _ = ball((24, 24, 24), affine=RAS, centre=(12, 12, 12), radius=9)
    before = volume.array.copy()
    first, second = (Predictor(network).predict(volume, clicks((12, 12, 12))) for _ in range(2))
    np.testing.assert_array_equal(first.array, second.array)
    np.testing.assert_array_equal(volume.array, before)


def test_a_first_click_outside_the_object_and_two_boxes_are_one_sentence() -> None:
    volume, _ = ball((24, 24, 24), affine=RAS, centre=(12, 12, 12), radius=9)
    predictor = Predictor(Bright(boxes=True))
    with pytest.raises(UsageError, match="first click of 'ball' must be in the object"):
        predictor.predict(volume, clicks((1, 1, 1), labels=[0]))
    box = {"near": (1, 1, 1), "far": (9, 9, 9)}
    with pytest.raises(UsageError, match="'a' has 2 boxes: give one"):
        predictor.predict(volume, clicks((0, 0, 0), objects=[{"name": "a", "boxes": [box, box]}]))
    with pytest.raises(GeometryError, match="'ball' lies outside ct"):
        predictor.predict(volume, boxed((1, 1, 1), (9, 9, 99)))
    with pytest.raises(GeometryError, match="'ball' lies outside the volume"):
        predictor.predict(volume, clicks((99, 1, 1), space="lps", image=None))


class Counted(Bright):
    """Keeps the cubes that were encoded, too."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[Tensor] = []
        self.image_encoder = nn.Identity()
        self.image_encoder.register_forward_hook(lambda _, inputs, output: self.encoded.append(output))


def test_further_clicks_in_a_volume_encode_nothing() -> None:
    network = Counted()
    predictor = Predictor(network)
    volume, _ = ball((40, 40, 40), affine=RAS, centre=(20, 20, 20), radius=9)
    first = predictor.predict(volume, clicks((20, 20, 20)))
    assert len(network.encoded) == 1
    again = predictor.predict(volume, clicks((20, 20, 20), (24, 20, 20)))
    assert len(network.encoded) == 1
    np.testing.assert_array_equal(first.array, again.array)
    predictor.predict(volume, clicks((16, 20, 20)))  # of another object: another cube
    assert len(network.encoded) == 2
    assert [points for points, _, _ in network.rounds[:3]] == [[[16] * 3], [[16] * 3], [[16] * 3, [20, 16, 16]]]


def test_another_volume_forgets_the_first() -> None:
    network = Counted()
    predictor = Predictor(network)
    volume, _ = ball((40, 40, 40), affine=RAS, centre=(20, 20, 20), radius=9)
    other = volume.with_array(volume.array**2)
    for number, asked in enumerate((volume, other, volume), start=1):
        predictor.predict(asked, clicks((20, 20, 20)))
        assert len(network.encoded) == number
    assert not torch.equal(network.encoded[0], network.encoded[1])
    assert torch.equal(network.encoded[0], network.encoded[2])


def test_nothing_of_a_volume_is_kept_alive() -> None:
    network = Counted()
    predictor = Predictor(network)
    volume, _ = ball((40, 40, 40), affine=RAS, centre=(20, 20, 20), radius=9)
    predictor.predict(volume, clicks((20, 20, 20)))
    cube = weakref.ref(network.encoded.pop())
    assert cube() is not None  # remembered
    seen = weakref.ref(volume)
    del volume
    gc.collect()
    assert (seen(), cube()) == (None, None)


def test_volumes_that_cannot_be_used_are_one_sentence() -> None:
    array = np.zeros((1, 9, 9, 9), np.float32)
    with pytest.raises(InputError, match="has 2"):
        Predictor(Bright()).predict(Volume(array=array.repeat(2, axis=0), affine=RAS), clicks((1, 1, 1)))
    array[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        Predictor(Bright()).predict(Volume(array=array, affine=RAS), clicks((1, 1, 1)))
    with pytest.raises(ValueError, match="spacing must be positive"):
        Predictor(Bright(), spacing=0)


def test_z_normalisation_is_the_recorded_one() -> None:
    case = json.loads((Path(__file__).parent / "golden" / "algorithms.json").read_text())["z_normalise"]
    spec = case["input"]
    drawn = golden.uniform(64, salt=spec["salt"], name=spec["name"]) * (spec["high"] - spec["low"]) + spec["low"]
    image = torch.from_numpy(drawn.astype(np.float32)).reshape(spec["shape"])
    assert image[image > 0].mean().item() == pytest.approx(case["mean"], rel=1e-6)
    assert image[image > 0].std().item() == pytest.approx(case["std"], rel=1e-6)
    assert z_normalise(image).flatten()[:8].tolist() == pytest.approx(case["output_first8"], rel=1e-5)


def test_huge_values_stay_finite() -> None:
    image = torch.tensor([1e30, 2e30, -1e30, 3e30]).reshape(1, 2, 2)
    torch.testing.assert_close(z_normalise(image).flatten(), torch.tensor([-1.0, 0.0, -3.0, 1.0]))


@pytest.mark.parametrize("value", [-3.0, 0.0, 7.0])
def test_a_constant_image_stays_finite(value: float) -> None:
    assert torch.equal(z_normalise(torch.full((2, 2, 2), value)), torch.zeros(2, 2, 2))
