"""The batched regressions reach the optimum that scikit-learn names, whatever the supports, penalties and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from omlab_adapters.probes.designs import Design
from omlab_adapters.probes.regressions import solve_heads
from omlab_adapters.probes.solver import TOLERANCE, solve_logistic

STRENGTHS = [0.001, 0.1, 1.0, 100.0]


def vectors_of(seed: int, cases: int, width: int) -> Any:
    """Correlated features of very different sizes, as encoders give them."""
    generator = np.random.default_rng(seed)
    mixed = generator.normal(size=(cases, 4)) @ generator.normal(size=(4, width)) + generator.normal(
        size=(cases, width)
    )
    return (mixed * np.geomspace(0.01, 10, width) + 3).astype(np.float32)


def answers(form: str, vectors: Any, targets: Any, strengths: Any = STRENGTHS) -> tuple[Any, float]:
    design = Design.of(torch.from_numpy(vectors), scaling="standard")
    (heads,) = solve_heads(form, [design], [targets], strengths=strengths)  # type: ignore[arg-type]
    raw = heads.raw(design.coordinates)
    found = {"one": raw.softmax(-1), "several": raw.sigmoid(), "scores": raw}[form]
    return found.numpy(), heads.gradient


def theirs(vectors: Any, labels: Any, strength: float) -> Any:
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=20000)
    return model.fit(vectors, labels).predict_proba(vectors)


@given(seed=st.integers(0, 10**6), cases=st.integers(8, 40), width=st.sampled_from([3, 60]))
@settings(max_examples=6, deadline=None)
def test_each_class_by_itself_is_as_scikit_learn_has_it(seed: int, cases: int, width: int) -> None:
    vectors = vectors_of(seed, cases, width)
    targets = np.random.default_rng(seed).integers(0, 2, (cases, 3)).astype(float)
    targets[:2] = [[0, 0, 0], [1, 1, 1]]
    targets[3:6, 1] = np.nan
    found, gradient = answers("several", vectors, targets)
    assert gradient <= TOLERANCE
    scaled = StandardScaler().fit_transform(vectors.astype(np.float64))
    for s, strength in enumerate(STRENGTHS):
        for k in range(3):
            known = np.isfinite(targets[:, k])
            wanted = theirs(scaled[known], targets[known, k], strength)[:, 1]
            assert found[s, known, k] == pytest.approx(wanted, abs=1e-4)


@given(seed=st.integers(0, 10**6), cases=st.integers(8, 40), width=st.sampled_from([3, 60]), classes=st.integers(2, 4))
@settings(max_examples=6, deadline=None)
def test_one_of_several_is_as_scikit_learn_has_it(seed: int, cases: int, width: int, classes: int) -> None:
    vectors = vectors_of(seed, cases, width)
    labels = np.arange(cases) % classes
    found, gradient = answers("one", vectors, np.eye(classes + 1)[labels])
    assert gradient <= TOLERANCE
    assert (found[..., classes] == 0).all()  # no case is of the last class
    scaled = StandardScaler().fit_transform(vectors.astype(np.float64))
    for s, strength in enumerate(STRENGTHS):
        assert found[s, :, :classes] == pytest.approx(theirs(scaled, labels, strength), abs=1e-4)


@given(seed=st.integers(0, 10**6), cases=st.integers(4, 30), width=st.sampled_from([3, 60]))
@settings(max_examples=6, deadline=None)
def test_numbers_are_as_scikit_learn_has_them(seed: int, cases: int, width: int) -> None:
    vectors = vectors_of(seed, cases, width)
    targets = np.random.default_rng(seed).normal(50, 10, (cases, 2))
    targets[0, 1] = np.nan
    found, _ = answers("scores", vectors, targets)
    scaled = StandardScaler().fit_transform(vectors.astype(np.float64))
    for s, strength in enumerate(STRENGTHS):
        for k in range(2):
            known = np.isfinite(targets[:, k])
            model = Ridge(alpha=1 / strength).fit(scaled[known], targets[known, k])
            assert found[s, known, k] == pytest.approx(model.predict(scaled[known]), rel=1e-6)


def test_a_class_with_one_side_is_always_or_never_right() -> None:
    vectors = vectors_of(0, 6, 4)
    targets = np.array([[1, 0, 1, np.nan]] * 3 + [[1, 0, 0, np.nan]] * 3)
    found, gradient = answers("several", vectors, targets)
    assert gradient <= TOLERANCE
    assert (found[..., 0] == 1).all()
    assert (found[..., [1, 3]] == 0).all()
    assert ((found[..., 2] > 0) & (found[..., 2] < 1)).all()


def test_constant_features_say_nothing() -> None:
    vectors = vectors_of(1, 12, 5)
    constant = np.full((12, 3), [0.1, 1e8, -7.3], np.float32)
    constant[0, 1] = np.nextafter(np.float32(1e8), np.float32(2e8))  # by rounding alone
    targets = np.eye(2)[np.arange(12) % 2]
    plain, _ = answers("one", vectors, targets)
    wider, _ = answers("one", np.hstack([vectors, constant]), targets)
    assert wider == pytest.approx(plain, abs=1e-6)
    alone, _ = answers("one", constant, targets)
    assert alone == pytest.approx(0.5)


def test_what_is_solved_together_is_as_if_alone() -> None:
    """Designs of other sizes fill up the tensors with zeros, which must not count."""
    parts = [(vectors_of(n, size, 30), np.random.default_rng(n).integers(0, 2, (size, 2)).astype(float)) for n, size in
             enumerate((9, 25, 14))]  # fmt: skip
    for _, targets in parts:
        targets[:2] = [[0, 0], [1, 1]]
    designs = [Design.of(torch.from_numpy(vectors), scaling="standard") for vectors, _ in parts]
    together = solve_heads("several", designs, [targets for _, targets in parts], strengths=STRENGTHS)
    for design, (_, targets), heads in zip(designs, parts, together, strict=True):
        (alone,) = solve_heads("several", [design], [targets], strengths=STRENGTHS)
        assert torch.allclose(heads.raw(design.coordinates), alone.raw(design.coordinates), atol=1e-4)


def test_counting_a_case_twice_is_having_it_twice() -> None:
    design = torch.from_numpy(vectors_of(2, 10, 3)).double()
    targets = (torch.arange(10) % 2).double()
    counts = torch.ones(10).double()
    counts[3] = 2
    strengths = torch.tensor([[1.0]]).double()
    once = solve_logistic(design[None], targets[None, None, None], counts=counts[None, None], strengths=strengths)
    rows = torch.tensor([*range(10), 3])
    twice = solve_logistic(
        design[rows][None], targets[rows][None, None, None], counts=torch.ones(1, 1, 11).double(), strengths=strengths
    )
    assert torch.allclose(once.weights, twice.weights, atol=1e-5)


def test_half_precision_of_numbers_ends_near_the_optimum() -> None:
    design = Design.of(torch.from_numpy(vectors_of(3, 40, 20)), scaling="standard").coordinates[None]
    targets = (torch.arange(40) % 3 == 0).double()[None, None, None]
    found = [
        solve_logistic(
            design.to(dtype), targets.to(dtype), counts=torch.ones(1, 1, 40, dtype=dtype),
            strengths=torch.ones(1, 1, dtype=dtype),
        )
        for dtype in (torch.float64, torch.float32)
    ]  # fmt: skip
    assert torch.allclose(found[0].weights, found[1].weights.double(), atol=1e-3)
