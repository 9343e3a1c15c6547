"""How sure a segmentation is of each structure, held against the formula over whole volumes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_payloads import sureness as module
from omlab_payloads.sureness import FEATURES, Sureness


def by_formula(probabilities, label):
    """Margin and entropy of a class over its volume, as the module's docstring has them."""
    ranked = np.sort(probabilities, axis=0)[::-1]
    inside = probabilities.argmax(0) == label
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(0) / math.log(len(probabilities))
    return (ranked[0] - ranked[1])[inside].mean(), entropy[inside].mean()


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
    sureness.add_scores(scores, weight=weight)
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
    sureness.add_scores(probabilities)
    found = sureness.of(1)
    assert found["surface_margin"] == pytest.approx(0.2, abs=1e-4)
    assert found["margin"] == pytest.approx((16 * 1 + 20 * 0.2) / 36, abs=1e-4)
    assert found["surface_entropy"] > found["entropy"] > 0


def test_of_a_large_part_some_is_looked_at_and_gives_about_the_same(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    scores = (2 * torch.randn(5, 32, 24, 24, generator=generator)).softmax(0)
    whole, part = Sureness(5, softmax=False), Sureness(5, softmax=False)
    whole.add_scores(scores)
    monkeypatch.setattr(module, "_PLANE_VOXELS", 24 * 24 * 8)
    monkeypatch.setattr(module, "_VOXELS", 1500)
    part.add_scores(scores)
    assert part._counts[0].sum() <= 1500 < whole._counts[0].sum()
    for label in range(1, 5):
        for name in FEATURES:
            assert part.of(label)[name] == pytest.approx(whole.of(label)[name], abs=0.05)


def test_a_class_that_no_voxel_has_has_no_figures():
    sureness = Sureness(3, softmax=True)
    sureness.add_scores(torch.tensor([0.0, 5.0, -5.0]).view(3, 1, 1, 1).expand(3, 2, 2, 2))
    assert sureness.of(2) is None
    assert sureness.of(1)["surface_margin"] == sureness.of(1)["margin"]  # it has no surface
    sureness.clear()
    assert sureness.of(1) is None
