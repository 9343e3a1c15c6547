"""The attention-to-mask head: folded keys and values are exact, and what the loss rewards."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_usfm.atm import AtmConfig, AtmHead, AtmOutput, MaskAttention
from omlab_usfm.losses import atm_loss


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=15, deadline=None)
@given(classes=st.integers(1, 5), tokens=st.integers(1, 30), heads=st.sampled_from([1, 2, 4]), training=st.booleans())
def test_folding_changes_nothing(classes: int, tokens: int, heads: int, training: bool) -> None:
    """Outputs, scores and gradients, with dropped weights too: then they do not add up to one."""
    attention = MaskAttention(8, heads=heads, dropout=0.3).double().train(training)
    q = drawn(2, heads, classes, 8 // heads).requires_grad_()
    x = drawn(2, tokens, 8, seed=1).requires_grad_()
    results = []
    for form in (attention.projected, attention.folded):
        torch.manual_seed(5)
        found, scores = form(q, x)
        wanted = [q, x, attention.k.weight, attention.k.bias, attention.v.weight, attention.v.bias]
        slopes = torch.autograd.grad((found * drawn(*found.shape, seed=2)).sum() + scores.square().sum(), wanted)
        results.append((found, scores, *slopes))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("classes", [2, 9])
def test_both_forms_are_taken(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    attention = MaskAttention(16, heads=2, dropout=0.0).double()
    taken: list[str] = []
    for name in ("projected", "folded"):
        monkeypatch.setattr(attention, name, _noted(taken, name, getattr(attention, name)))
    attention(drawn(1, classes, 16), drawn(1, 7, 16))
    assert taken == ["folded" if classes == 2 else "projected"]


def _noted(taken: list[str], name: str, form):  # type: ignore[no-untyped-def]  # a method of the attention
    def noting(*arguments):  # type: ignore[no-untyped-def]
        taken.append(name)
        return form(*arguments)

    return noting


def test_masks_of_stages_add_up() -> None:
    head = AtmHead(AtmConfig(classes=3, in_channels=12, width=8, heads=2, layers=1, stages=2)).double().eval()
    with torch.no_grad():
        output = head([drawn(1, 12, 6, 6), drawn(1, 12, 3, 3, seed=1)], size=(12, 12))
    assert [tuple(one.shape) for one in output.masks] == [(1, 3, 6, 6), (1, 3, 12, 12)]
    assert [tuple(one.shape) for one in output.scores] == [(1, 3, 4)] * 2
    assert tuple(output.semantic.shape) == (1, 3, 12, 12)


def test_other_maps_than_stages_are_refused() -> None:
    head = AtmHead(AtmConfig(classes=3, in_channels=12, width=8, heads=2, stages=2))
    with pytest.raises(ValueError, match="2 stages and is given 1"):
        head([torch.zeros(1, 12, 4, 4)], size=(8, 8))


def output_for(labels: Tensor, classes: int, *, sure: float) -> AtmOutput:
    """The right answer, `sure` of it."""
    present = torch.stack([(labels == number).flatten(1).any(dim=1) for number in range(classes)], dim=1)
    wanted = torch.where(present, torch.arange(classes), classes)
    scores = sure * torch.nn.functional.one_hot(wanted, classes + 1).double()
    masks = sure * torch.stack([(labels == number).double() * 2 - 1 for number in range(classes)], dim=1)
    return AtmOutput(scores=(scores,), masks=(masks,))


def test_the_right_answer_costs_nothing() -> None:
    labels = torch.tensor([[[0, 0], [1, 1]], [[0, 0], [0, 0]]])
    right, _ = atm_loss(output_for(labels, 3, sure=30.0), labels)
    wrong, _ = atm_loss(output_for(1 - labels.clamp(max=1), 3, sure=30.0), labels)
    assert right < 1e-6
    assert wrong > 1


def test_ignored_pixels_are_of_no_class_and_all_ignored_is_finite() -> None:
    labels = torch.full((1, 2, 2), 255)
    total, terms = atm_loss(output_for(labels, 3, sure=1.0), labels)
    assert torch.isfinite(total)
    assert terms["loss_mask"] == 0
