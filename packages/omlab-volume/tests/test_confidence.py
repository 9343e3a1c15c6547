"""How sure a segmentation is of each structure, held against the formula over whole volumes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_volume.inference import confidence
from omlab_volume.inference.confidence import FEATURES, Sureness
from omlab_volume.inference.export import predict_labels
from omlab_volume.inference.preprocess import Plan
from omlab_volume.inference.segment import segment
from omlab_volume.inference.sliding_window import Cell, predict_scores
from omlab_volume.volume import Label, Volume


def by_formula(probabilities, label):
    """Margin and entropy of a class over its volume, as the module's docstring has them."""
    ranked = np.sort(probabilities, axis=0)[::-1]
    inside = probabilities.argmax(0) == label
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(0) / math.log(len(probabilities))
    return (ranked[0] - ranked[1])[inside].mean(), entropy[inside].mean()


def cell_of(scores, weight=None):
    z, y, x = (slice(0, n) for n in scores.shape[1:])
    return Cell(z, y, x, scores, weight)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), softmax=st.booleans(), weighed=st.booleans())
def test_means_are_those_of_the_formula(seed, softmax, weighed):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(4, 5, 6, 7, generator=generator)
    wanted = logits.softmax(0)
    weight = torch.rand(5, 6, 7, generator=generator) + 0.5 if weighed else None
    scores = (logits if softmax else wanted) * (1 if weight is None else weight)
    before = scores.clone()
    sureness = Sureness(4, softmax=softmax)
    sureness.add(cell_of(scores, weight))
    assert torch.equal(scores, before)
    for label in (1, 2, 3):
        margin, entropy = by_formula(wanted.numpy(), label)
        found = sureness.of(label)
        assert found["margin"] == pytest.approx(margin, abs=2e-5)
        assert found["entropy"] == pytest.approx(entropy, abs=2e-5)


def test_a_sharp_box_is_sure_inside_and_less_so_where_it_ends():
    probabilities = torch.zeros(2, 4, 12, 12)
    probabilities[1, :, 3:9, 3:9] = 0.6
    probabilities[1, :, 4:8, 4:8] = 1.0
    probabilities[0] = 1 - probabilities[1]
    sureness = Sureness(2, softmax=False)
    sureness.add(cell_of(probabilities))
    found = sureness.of(1)
    assert found["surface_margin"] == pytest.approx(0.2, abs=1e-4)
    assert found["margin"] == pytest.approx((16 * 1 + 20 * 0.2) / 36, abs=1e-4)
    assert found["surface_entropy"] > found["entropy"] > 0


def test_of_a_large_cell_a_part_is_looked_at_and_gives_about_the_same(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    cell = cell_of((2 * torch.randn(5, 32, 24, 24, generator=generator)).softmax(0))
    whole, part = Sureness(5, softmax=False), Sureness(5, softmax=False)
    whole.add(cell)
    monkeypatch.setattr(confidence, "_PLANE_VOXELS", 24 * 24 * 8)
    monkeypatch.setattr(confidence, "_VOXELS", 1500)
    part.add(cell)
    assert part._counts[0].sum() <= 1500 < whole._counts[0].sum()
    for label in range(1, 5):
        for name in FEATURES:
            assert part.of(label)[name] == pytest.approx(whole.of(label)[name], abs=0.05)


def test_a_class_that_no_voxel_has_has_no_figures():
    sureness = Sureness(3, softmax=True)
    sureness.add(cell_of(torch.tensor([0.0, 5.0, -5.0]).view(3, 1, 1, 1).expand(3, 2, 2, 2).clone()))
    assert sureness.of(2) is None
    assert sureness.of(1)["surface_margin"] == sureness.of(1)["margin"]  # it has no surface
    sureness.clear()
    assert sureness.of(1) is None


class Blob(torch.nn.Module):
    """Scores that follow the image: class 1 where it is bright."""

    def forward(self, windows):
        return torch.cat([-windows, windows], dim=1)


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_windows_tell_what_the_whole_volume_would(combine):
    image = 2 * torch.randn(1, 11, 12, 13, generator=torch.Generator().manual_seed(0))
    how = {"patch_size": (8, 8, 8), "classes": 2, "mirror": False, "combine": combine}
    sureness = Sureness(2, softmax=combine == "logits")
    labels = predict_labels(Blob(), image, sureness=sureness, **how)
    scores = predict_scores(Blob(), image, **how)
    assert (labels == scores.argmax(0).numpy()).all()
    probabilities = (scores.softmax(0) if combine == "logits" else scores).numpy()
    assert sureness.of(1)["margin"] == pytest.approx(by_formula(probabilities, 1)[0], abs=1e-3)


def test_a_label_map_tells_volume_and_sureness_of_what_is_there():
    array = np.full((1, 10, 10, 10), -1.0, np.float32)
    array[0, 3:7, 3:7, 3:7] = 2.0
    volume = Volume(array=array, affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    labels = [Label(value=1, name="blob"), Label(value=2, name="never")]
    plan = Plan(spacing=None, patch_size=(10, 10, 10), normalisation="none")

    class Three(torch.nn.Module):
        def forward(self, windows):
            return torch.cat([-windows, windows, torch.full_like(windows, -9)], dim=1)

    found = segment(Three(), volume, plan=plan, labels=labels, mirror=False)
    assert set(found.facts["structures"]) == {"blob"}
    assert found.facts["structures"]["blob"]["ml"] == pytest.approx(64 * 8 / 1000)
    assert found.facts["structures"]["blob"]["margin"] > 0.9
    assert found.telling({"more": 1}).tells() == {"more": 1}
