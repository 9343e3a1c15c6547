from __future__ import annotations

import json
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
from omlab.prompts import Prompts
from omlab_sammed3d.network import SamMed3d, SamMed3dConfig, untrained
from omlab_sammed3d.predictor import Predictor
from omlab_sammed3d.windows import z_normalise
from omlab_testkit import golden
from omlab_volume.volume import LabelMap, Volume

TINY = SamMed3dConfig(image_size=32, patch=8, width=24, depth=2, heads=3, global_blocks=(1,), window=3, prompt_width=48)
RAS = np.diag([1.5, 1.5, 1.5, 1.0])


class Bright(SamMed3d):
    """Segments what is brighter than the middle of the cube's range, whatever is clicked; keeps its rounds."""

    def __init__(self, *, image_size: int = 32) -> None:
        super().__init__(SamMed3dConfig(**{**vars(TINY), "image_size": image_size}))
        self.image_encoder = nn.Identity()  # type: ignore[assignment]
        self.rounds: list[tuple[list[list[int]], list[int], bool]] = []
        self.eval()

    def decode(self, embedding: Tensor, *, previous: Tensor | None = None, **prompts: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        self.rounds.append((prompts["points"][0].tolist(), prompts["labels"][0].tolist(), previous is not None))
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


@pytest.mark.parametrize(
    ("prompts", "error", "word"),
    [
        (clicks((99, 0, 0)), GeometryError, r"lies outside ct\.nii\.gz"),
        (clicks((1, 1, 1), labels=[0]), UsageError, "first click of 'ball' must be in the object"),
        (clicks((0, 0, 0), objects=[{"name": "a", "text": ["liver"]}]), UsageError, "by text.*takes points"),
    ],
)
def test_prompts_that_cannot_be_used_are_one_sentence(prompts: Prompts, error: type[Exception], word: str) -> None:
    volume, _ = ball((24, 24, 24), affine=RAS, centre=(12, 12, 12), radius=9)
    with pytest.raises(error, match=word):
        Predictor(Bright()).predict(volume, prompts, image="ct.nii.gz")


def test_voxels_of_another_image_are_refused() -> None:
    volume, _ = ball((24, 24, 24), affine=RAS, centre=(12, 12, 12), radius=9)
    with pytest.raises(GeometryError, match=r"voxels of ct\.nii\.gz, not of mr\.nii\.gz"):
        Predictor(Bright()).predict(volume, clicks((1, 1, 1)), image="/data/mr.nii.gz")


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


@pytest.mark.parametrize("value", [-3.0, 0.0, 7.0])
def test_a_constant_image_stays_finite(value: float) -> None:
    assert torch.equal(z_normalise(torch.full((2, 2, 2), value)), torch.zeros(2, 2, 2))
