"""A training gives the weights of its best epoch, ends when there was no better one for long, and resumes so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omlab_train_toys import SGD, STEPS, Regression

from omlab.errors import OmlabWarning, SettingsError, TrainingError
from omlab_train import Optimisation, fit
from omlab_train.best import best_epoch, is_over

BEST = replace(SGD, best="loss", patience=2)
FIGURES = [3.0, 1.0, 2.0, 1.0, 1.5, 0.5]


class Judged(Regression):
    """Its validation says what it was told to, and remembers the weights that it was asked of."""

    def __init__(self, figures: list[float], how: Optimisation, *, ends: int = 6) -> None:
        super().__init__(how=how)
        self.steps = ends * STEPS
        self.figures = iter(figures)
        self.seen: list[dict[str, torch.Tensor]] = []

    def validate(self) -> Mapping[str, float] | None:
        self.seen.append({name: value.clone() for name, value in self.module.state_dict().items()})
        return {"loss": next(self.figures)}


def given(recipe: Regression) -> dict[str, torch.Tensor]:
    return dict(recipe.module.state_dict())


def same(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, wanted[name]) for name, value in found.items())


@pytest.mark.parametrize("how", [BEST, replace(BEST, ema=0.9)], ids=["plain", "averaged"])
def test_the_best_epoch_is_given_and_the_training_ends_after_two_that_are_no_better(
    tmp_path: Path, how: Optimisation
) -> None:
    recipe = Judged(FIGURES, how)
    rows = fit(recipe, folder=tmp_path, device="cpu", seed=0)
    assert len(rows) == 4  # the second epoch is the first of the lowest
    assert same(given(recipe), recipe.seen[1])
    again = Judged([], how)
    assert len(fit(again, folder=tmp_path, device="cpu", seed=0)) == 4  # it is over already
    assert same(given(again), recipe.seen[1])


def test_it_goes_on_as_long_as_it_was_told_to(tmp_path: Path) -> None:
    recipe = Judged(FIGURES, replace(BEST, patience_after=5))
    assert len(fit(recipe, folder=tmp_path, device="cpu", seed=0)) == 6
    assert same(given(recipe), recipe.seen[5])


def test_one_that_was_interrupted_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = Judged(FIGURES, BEST)
    fit(whole, folder=tmp_path / "whole", device="cpu", seed=0)
    torn = Judged([3.0, 1.0], BEST)
    with pytest.raises(StopIteration):  # of what it was told to say
        fit(torn, folder=tmp_path / "torn", device="cpu", seed=0)
    resumed = Judged(FIGURES[2:], BEST)
    assert len(fit(resumed, folder=tmp_path / "torn", device="cpu", seed=0)) == 4
    assert same(given(resumed), given(whole))


@pytest.mark.parametrize("how", [replace(SGD, limits={"loss": 2.5}), replace(BEST, limits={"loss": 2.5})])
def test_a_training_that_goes_beyond_a_limit_ends_with_the_best_weights_before(
    tmp_path: Path, how: Optimisation
) -> None:
    recipe = Judged([2.0, 1.0, 2.6, 0.1], how)
    said = "ended after epoch 3: loss of validation is 2.6, beyond the limit of 2.5. The weights are those of epoch 2."
    with pytest.warns(OmlabWarning, match=said):
        assert len(fit(recipe, folder=tmp_path, device="cpu", seed=0)) == 3
    assert same(given(recipe), recipe.seen[1])
    again = Judged([], how)
    with pytest.warns(OmlabWarning, match=said):
        fit(again, folder=tmp_path, device="cpu", seed=0)
    assert same(given(again), recipe.seen[1])


def test_one_that_is_beyond_a_limit_from_its_first_epoch_fails(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no epoch was within it"):
        fit(Judged([3.0, 1.0], replace(BEST, limits={"loss": 2.5})), folder=tmp_path, device="cpu", seed=0)


def test_within_limits_the_last_epoch_is_given(tmp_path: Path) -> None:
    recipe = Judged([1.0, 2.0], replace(SGD, limits={"loss": 2.5}), ends=2)
    fit(recipe, folder=tmp_path, device="cpu", seed=0)
    assert same(given(recipe), recipe.seen[1])


def test_without_validation_the_last_epoch_is_given(tmp_path: Path) -> None:
    recipe, plain = Regression(how=BEST), Regression(how=SGD)
    assert fit(recipe, folder=tmp_path / "a", device="cpu", seed=0)
    fit(plain, folder=tmp_path / "b", device="cpu", seed=0)
    assert same(given(recipe), given(plain))
    assert best_epoch([{"loss": 1.0}], BEST) is None
    assert not is_over([{"loss": 1.0}] * 9, BEST)


def test_patience_needs_to_know_what_for() -> None:
    with pytest.raises(SettingsError, match="patience is 3, but must be 0 without best"):
        Optimisation(patience=3)
