import itertools
import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from omlab import progress
from omlab.errors import InputError, OmlabError
from omlab_volume.inference import sliding_window
from omlab_volume.inference.resting import SMALL, small_from
from omlab_volume.inference.sliding_window import SlidingWindow, predict_scores
from omlab_volume.inference.windows import Tiling, gaussian_importance, window_starts

GOLDEN = json.loads((Path(__file__).parent / "golden" / "stunet_algorithms.json").read_text())


def network(classes=3, channels=1):
    torch.manual_seed(classes)
    return nn.Sequential(nn.Conv3d(channels, 4, 3, padding=1), nn.Tanh(), nn.Conv3d(4, classes, 3, padding=1)).eval()


def naive(model, image, *, patch, step=0.5, axes=(), combine="probabilities"):
    """The definition, with all class volumes: padded, blended, divided, cropped."""
    short = [max(0, p - n) for p, n in zip(patch, image.shape[1:], strict=True)]
    before = [missing // 2 for missing in short]
    sides = [side for missing in reversed(short) for side in (missing // 2, missing - missing // 2)]
    padded = nn.functional.pad(image, sides)
    starts = [window_starts(n, p, step) for n, p in zip(padded.shape[1:], patch, strict=True)]
    weight = gaussian_importance(patch, half=combine == "logits").double()
    if all(len(one) == 1 for one in starts):
        weight = torch.ones_like(weight)
    total = count = 0
    for corner in itertools.product(*starts):
        at = (slice(None), *(slice(c, c + p) for c, p in zip(corner, patch, strict=True)))
        flips = [f for n in range(len(axes) + 1) for f in itertools.combinations([a + 1 for a in axes], n)]
        scores = 0
        for flip in flips:
            with torch.no_grad():
                out = model(padded[at].flip(flip)[None])[0].flip(flip).double()
            scores = scores + (out.softmax(0) if combine == "probabilities" else out) / len(flips)
        placed = torch.zeros((len(scores), *padded.shape[1:]), dtype=torch.float64)
        placed[at] = scores * weight
        spread = torch.zeros(padded.shape[1:], dtype=torch.float64)
        spread[at[1:]] = weight
        total, count = total + placed, count + spread
    inside = (slice(None), *(slice(b, b + n) for b, n in zip(before, image.shape[1:], strict=True)))
    return (total / count)[inside]


@pytest.mark.parametrize("case", GOLDEN["sliding_window_starts"], ids=str)
def test_golden_starts(case):
    got = [window_starts(n, p, case["step"]) for n, p in zip(case["image"], case["patch"], strict=True)]
    assert got == case["starts"]


@pytest.mark.parametrize("case", GOLDEN["gaussian_importance"].values(), ids=lambda case: str(case["patch"]))
def test_golden_gaussian(case):
    weights = gaussian_importance(case["patch"]).double().numpy()
    np.testing.assert_allclose(weights.ravel()[case["index"]], case["value"], rtol=1e-5)
    line = weights[:, case["patch"][1] // 2, case["patch"][2] // 2]
    np.testing.assert_allclose(line, case["axis0_centre_line"], rtol=1e-5)
    np.testing.assert_allclose(
        [weights.min(), weights.max(), weights.sum()], [case["min"], case["max"], case["sum"]], rtol=1e-5
    )


def test_the_gaussian_of_v2_is_half_precision_with_maximum_ten():
    weights = gaussian_importance((16, 12, 8), half=True)
    assert weights.dtype == torch.float32
    assert weights.max() == 10
    assert (weights > 0).all()
    assert (weights.half().float() == weights).all()


@given(patch=st.integers(1, 30), more=st.integers(0, 90), step=st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]))
@settings(max_examples=100, deadline=None)
def test_windows_cover_the_axis(patch, more, step):
    starts = window_starts(patch + more, patch, step)
    assert starts[0] == 0
    assert starts[-1] == more
    assert starts == sorted(set(starts))
    assert all(b - a <= max(1, np.ceil(patch * step)) for a, b in itertools.pairwise(starts))


def test_impossible_windows_are_refused():
    with pytest.raises(ValueError, match="step"):
        window_starts(10, 5, 0)
    with pytest.raises(ValueError, match="size 4"):
        window_starts(4, 5)
    for wrong in ({"classes": 0}, {"batch_size": 0}, {"mirror": (3,)}, {"combine": "votes"}, {"patch_size": (0, 1, 1)}):
        with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
            SlidingWindow(**{"patch_size": (4, 4, 4), "classes": 2, **wrong})


@given(
    size=st.tuples(*[st.integers(1, 12)] * 3),
    patch=st.tuples(*[st.integers(4, 7)] * 3),
    step=st.sampled_from([0.5, 0.7, 1.0]),
    axes=st.sampled_from([(), (0,), (1, 2)]),
    combine=st.sampled_from(["probabilities", "logits"]),
    batch=st.integers(1, 5),
)
@settings(max_examples=15, deadline=None)
def test_scores_equal_the_definition(size, patch, step, axes, combine, batch):
    image = torch.randn(1, *size, generator=torch.Generator().manual_seed(sum(size)))
    model = network()
    got = predict_scores(
        model, image, patch_size=patch, classes=3, step=step, mirror=axes, combine=combine, batch_size=batch
    )
    expected = naive(model, image, patch=patch, step=step, axes=axes, combine=combine)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


def test_channels_reach_the_network():
    image = torch.randn(2, 6, 7, 8)
    got = predict_scores(network(2, channels=2), image, patch_size=(4, 4, 4), classes=2, mirror=True)
    expected = naive(network(2, channels=2), image, patch=(4, 4, 4), axes=(0, 1, 2))
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


def test_cells_tile_the_image_in_order():
    image = torch.zeros(1, 13, 11, 9)
    how = SlidingWindow(patch_size=(5, 4, 6), classes=3, mirror=False)
    seen = np.zeros((13, 11, 9), int)
    for z, y, x, scores, weight in how.cells(network(), image):
        assert seen[: z.start, y, x].all()
        assert seen[z, : y.start, x].all()
        assert seen[z, y, : x.start].all()
        seen[z, y, x] += 1
        assert scores.shape[1:] == weight.shape == (z.stop - z.start, y.stop - y.start, x.stop - x.start)
    assert (seen == 1).all()


def test_only_half_a_window_of_depth_is_kept():
    image = torch.zeros(1, 64, 16, 8)
    how = SlidingWindow(patch_size=(8, 8, 8), classes=2, mirror=False)
    run = sliding_window._Run(how, network(2), image)
    alive = [sum(sums.numel() for sums in run.sums.values()) for _ in run.cells()]
    assert max(alive) <= 2 * 8 * 8 * (16 + 8) // 2
    assert not run.sums


def test_memory_of_cells_is_used_again() -> None:
    how = SlidingWindow(patch_size=(8, 8, 8), classes=2, mirror=False)
    run = sliding_window._Run(how, network(2), torch.zeros(1, 64, 21, 13))
    alive, held = [], []
    for _ in run.cells():
        alive.append(sum(sums.nbytes for sums in run.sums.values()))
        held.append(alive[-1] + sum(spare.nbytes for spare in run.spare))
    assert max(held) <= 1.3 * max(alive)


def test_half_precision_sums_take_half_and_agree() -> None:
    image = torch.randn(1, 14, 13, 12, generator=torch.Generator().manual_seed(0))
    for combine in ("probabilities", "logits"):
        how = {"patch_size": (6, 6, 6), "classes": 3, "mirror": (0, 1), "combine": combine}
        exact = predict_scores(network(), image, **how)
        half = predict_scores(network(), image, sum_type=torch.float16, **how)
        assert half.dtype == torch.float32
        assert (
            half - exact
        ).abs().max() <= 8 / 2048 * exact.abs().max()  # of the 32 / 2048 that 8 x 4 summands may come to
    run = sliding_window._Run(SlidingWindow(**how, sum_type=torch.float16), network(), image)
    assert {sums.dtype for _ in run.cells() for sums in run.sums.values()} == {torch.float16}
    with pytest.raises(ValueError, match="sum_type"):
        SlidingWindow(patch_size=(4, 4, 4), classes=2, sum_type=torch.bfloat16)


@pytest.mark.parametrize(
    ("size", "combine", "wanted"),
    [
        ((600, 512, 512), "probabilities", torch.float16),
        ((200, 200, 200), "probabilities", torch.float32),
        ((600, 512, 512), "logits", torch.float32),  # what a logit is off by has no bound
    ],
)
def test_sums_are_of_half_precision_where_they_are_large(
    size: tuple[int, ...], combine: sliding_window.Combine, wanted: torch.dtype
) -> None:
    how = SlidingWindow(patch_size=(128, 128, 128), classes=105, combine=combine)
    run = sliding_window._Run(how, network(), torch.empty(1).expand(1, *size))
    assert run.sum_type == wanted
    assert bool(run.small) == (wanted == torch.float16)  # and rest as bytes


def test_small_sums_rest_as_bytes_and_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.randn(1, 61, 20, 17, generator=torch.Generator().manual_seed(0))
    how = {"patch_size": (16, 12, 12), "classes": 3, "mirror": False}
    exact = predict_scores(network(), image, **how)
    monkeypatch.setattr(sliding_window, "WORTH", 0)
    found = predict_scores(network(), image, sum_type=torch.float16, **how)
    assert (found - exact).abs().max() <= 8 / 2048 + 1 / 4096
    run = sliding_window._Run(SlidingWindow(**how, sum_type=torch.float16), network(), image)
    awake, asleep = [], []
    for _ in run.cells():
        awake.append(sum(sums.numel() for sums in run.sums.values()))
        asleep.append(sum(cell.values.numel() for cell in run.asleep.values()))
    assert max(asleep) > 0.1 * max(awake)
    assert not run.sums
    assert not run.asleep


def test_a_window_is_a_small_part_from_where_the_next_one_weighs_most() -> None:
    weights = gaussian_importance((128, 2, 2))[:, 1, 1]
    (first,) = small_from(weights, [0, 59]).values()
    own, after = weights[first], weights[first - 59]
    assert own / (own + after) < SMALL
    assert weights[first - 2] / (weights[first - 2] + weights[first - 61]) > 0.9 * SMALL
    assert small_from(torch.ones(16), [0, 8]) == {}


def test_progress_counts_windows_and_flips():
    counted = []

    @contextmanager
    def sink(description, total):
        counted.append((description, total))
        yield lambda steps=1, /, **figures: counted.append(steps)

    with progress.shown_by(sink):
        predict_scores(network(), torch.zeros(1, 8, 4, 4), patch_size=(4, 4, 4), classes=3, mirror=(0,), batch_size=2)
    assert counted[0] == ("windows", 6)
    assert sum(counted[1:]) == 6


def test_wrong_networks_get_a_sentence():
    image = torch.zeros(1, 4, 4, 4)
    with pytest.raises(OmlabError, match=r"\(1, 3, 4, 4, 4\) where \(1, 5, 4, 4, 4\)"):
        predict_scores(network(), image, patch_size=(4, 4, 4), classes=5)
    with pytest.raises(OmlabError, match="not finite"):
        predict_scores(lambda x: x.repeat(1, 2, 1, 1, 1) * torch.nan, image, patch_size=(4, 4, 4), classes=2)
    with pytest.raises(InputError, match=r"\(4, 4, 4\)"):
        predict_scores(network(), image[0], patch_size=(4, 4, 4), classes=3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_scores():
    image = torch.randn(1, 20, 21, 22)
    model = network()
    expected = predict_scores(model, image, patch_size=(8, 8, 8), classes=3)
    got = predict_scores(model.cuda(), image, patch_size=(8, 8, 8), classes=3, device="cuda", batch_size=4)
    torch.testing.assert_close(got, expected, rtol=1e-2, atol=1e-2)


def test_windows_of_another_kind_weigh_as_often_as_they_come():
    def starts(size, patch):
        return [[0, min(2, n - p), n - p, n - p] for n, p in zip(size, patch, strict=True)]

    def importance(patch):
        return torch.linspace(0.1, 1, int(np.prod(patch))).reshape(tuple(patch))

    model, image, patch = network(), torch.randn(1, 9, 10, 11), (4, 5, 6)
    total = count = 0
    for corner in itertools.product(*starts(image.shape[1:], patch)):
        at = (slice(None), *(slice(c, c + p) for c, p in zip(corner, patch, strict=True)))
        placed, spread = torch.zeros(3, *image.shape[1:]), torch.zeros(image.shape[1:])
        with torch.no_grad():
            placed[at] = model(image[at][None])[0] * importance(patch)
        spread[at[1:]] = importance(patch)
        total, count = total + placed, count + spread
    how = {"patch_size": patch, "classes": 3, "combine": "logits", "mirror": False}
    tiling = Tiling(starts=starts, importance=importance)
    found = predict_scores(model, image, **how, tiling=tiling)
    torch.testing.assert_close(found, total / count)
    whole = predict_scores(model, image[:, :4, :5, :6], **how, tiling=tiling)
    torch.testing.assert_close(whole, model(image[None, :, :4, :5, :6])[0].detach())
