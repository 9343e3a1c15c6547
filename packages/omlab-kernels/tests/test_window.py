"""`window_accumulate` and `window_argmax`: every form gives what the class volumes of the naive one give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_kernels import window_accumulate, window_argmax
from omlab_kernels.window import naive, plain

Steps = list[tuple[Tensor, Tensor, Tensor]]


def steps_to(size: tuple[int, ...], shape: tuple[int, ...], *, nearest: int | None = None) -> Steps:
    """Linear, half-voxel centred, or the nearest voxel along an axis."""
    made = []
    for axis, (have, want) in enumerate(zip(size, shape, strict=True)):
        centres = ((torch.arange(want, dtype=torch.float64) + 0.5) * have / want - 0.5).clamp(0, have - 1)
        lower = (centres.round() if axis == nearest else centres.floor()).long()
        upper = lower if axis == nearest else (lower + 1).clamp(max=have - 1)
        weight = torch.zeros(want) if axis == nearest else (centres - lower).float()
        made.append((lower, upper, weight))
    return made


def compare(scores: Tensor, steps: Steps) -> None:
    """Labels agree but where the best scores are a tie of rounding."""
    labels, finite = window_argmax(scores, steps)
    wanted, wanted_finite = naive.window_argmax(scores.double(), steps)
    assert labels.dtype == (torch.uint8 if len(scores) <= 256 else torch.int32)
    assert labels.shape == wanted.shape
    assert bool(finite) is bool(wanted_finite) is True
    volumes = scores.double()
    for axis, (lower, upper, weight) in enumerate(steps):
        along = weight.to(volumes).view([-1 if other == axis else 1 for other in range(3)])
        low, high = (volumes.index_select(axis + 1, index.to(volumes.device)) for index in (lower, upper))
        volumes = torch.lerp(low, high, along)
    gap = volumes.amax(0) - volumes.gather(0, labels.long()[None])[0]
    assert (gap * (labels != wanted)).max() <= 1e-5 * max(1.0, float(scores.abs().max()))


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


CASES = [
    ((1, 1, 1), (1, 1, 1), None), ((1, 1, 1), (3, 2, 4), None), ((5, 6, 7), (5, 6, 7), None),
    ((2, 9, 8), (7, 11, 5), 0), ((4, 5, 6), (9, 3, 13), None), ((6, 5, 3), (6, 10, 7), 2),
]  # fmt: skip


@pytest.mark.parametrize(("size", "shape", "nearest"), CASES, ids=str)
@pytest.mark.parametrize("classes", [1, 5])
def test_labels(
    each_form: str, size: tuple[int, ...], shape: tuple[int, ...], nearest: int | None, classes: int
) -> None:
    compare(drawn(classes, *size), steps_to(size, shape, nearest=nearest))


def test_many_classes(each_form: str) -> None:
    scores = drawn(300, 2, 3, 2)
    scores[299, 0] += 9
    compare(scores, steps_to((2, 3, 2), (3, 4, 3)))
    compare(scores[:256], steps_to((2, 3, 2), (3, 4, 3)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_of_scores(each_form: str, dtype: torch.dtype) -> None:
    compare(drawn(4, 4, 5, 6, dtype=dtype), steps_to((4, 5, 6), (5, 7, 9)))


def test_strides_of_scores(each_form: str) -> None:
    scores = drawn(5, 9, 8, 4).permute(3, 0, 2, 1)[:, :, ::2]
    compare(scores, steps_to((5, 4, 9), (6, 6, 6)))


@given(
    size=st.tuples(*[st.integers(1, 9)] * 3), shape=st.tuples(*[st.integers(1, 12)] * 3),
    classes=st.integers(1, 300), nearest=st.sampled_from([None, 0, 1, 2]),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_any_grid(size: tuple[int, ...], shape: tuple[int, ...], classes: int, nearest: int | None) -> None:
    compare(drawn(classes, *size), steps_to(size, shape, nearest=nearest))


def test_stretches_of_planes_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plain._VOXELS, "cpu", 1)
    compare(drawn(3, 11, 6, 5), steps_to((11, 6, 5), (29, 13, 4)))


def test_the_lowest_class_wins_a_tie(each_form: str) -> None:
    scores = torch.zeros(4, 3, 3, 3)
    scores[1:3] = 1
    labels, _ = window_argmax(scores, steps_to((3, 3, 3), (5, 3, 7)))
    assert (labels == 1).all()


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # the interpreter's NumPy
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
@pytest.mark.parametrize("index", [0, 2])
def test_scores_that_are_not_finite_are_seen(each_form: str, wrong: float, index: int) -> None:
    scores = torch.zeros(3, 2, 3, 4)
    scores[index, 1, 2, 3] = wrong
    assert not window_argmax(scores, steps_to((2, 3, 4), (2, 3, 4)))[1]
    assert not window_argmax(torch.full((2, 1, 1, 1), -torch.inf), steps_to((1, 1, 1), (1, 1, 1)))[1]
    scores[index, 1, 2, 3] = -torch.inf  # a class that is excluded is no error where nothing is mixed
    copied = [(torch.arange(n), torch.arange(n), torch.zeros(n)) for n in (2, 3, 4)]
    assert window_argmax(scores, copied)[1]


def test_no_output(each_form: str) -> None:
    labels, finite = window_argmax(drawn(2, 2, 2, 2), steps_to((2, 2, 2), (0, 3, 3)))
    assert labels.shape == (0, 3, 3)
    assert finite


_CLOSE = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 5e-4}


def accumulated(scores: Tensor, *, kind: torch.dtype = torch.float32, **how: Any) -> Tensor:
    """What both forms add to a strided part of some sums; checks that they agree."""
    weights = torch.float32 if kind == torch.float16 else kind
    importance = torch.rand(scores.shape[1:], generator=torch.Generator().manual_seed(1), dtype=weights)
    box = [size - at - 1 if size - at > 1 else 1 for size, at in zip(scores.shape[1:], how["start"], strict=True)]
    whole = torch.ones(len(scores), *(n + 2 for n in box), dtype=kind)
    part = whole[:, 1:-1, 1:-1, 1:-1]
    wanted = torch.ones_like(part, dtype=torch.float64)
    naive.window_accumulate(wanted, scores.double(), importance.double(), **how)
    window_accumulate(part, scores, importance, **how)
    assert (part - wanted).abs().max() <= _CLOSE[kind] * max(1.0, float(wanted.max()))
    whole[:, 1:-1, 1:-1, 1:-1] = 1
    assert (whole == 1).all()  # nothing was written outside the box
    return part


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("flip", [(), (0,), (1, 2), (0, 1, 2)])
def test_sums(each_form: str, flip: tuple[int, ...], softmax: bool) -> None:
    accumulated(drawn(5, 4, 5, 6), start=(1, 0, 2), flip=flip, softmax=softmax)
    accumulated(drawn(5, 4, 5, 6), start=(1, 0, 2), flip=flip, softmax=softmax, fresh=True)
    accumulated(drawn(5, 4, 5, 6), start=(1, 0, 2), flip=flip, softmax=softmax, kind=torch.float16)
    accumulated(drawn(1, 1, 1, 1), start=(0, 0, 0), flip=flip, softmax=softmax)


def test_fresh_sums_are_those_added_to_nothing(each_form: str) -> None:
    scores, importance = drawn(5, 4, 5, 6), torch.rand(4, 5, 6)
    for kind in (torch.float32, torch.float16):
        fresh, added = torch.full((5, 3, 4, 5), torch.nan, dtype=kind), torch.zeros(5, 3, 4, 5, dtype=kind)
        window_accumulate(fresh, scores, importance, start=(1, 1, 1), flip=(2,), softmax=True, fresh=True)
        window_accumulate(added, scores, importance, start=(1, 1, 1), flip=(2,), softmax=True)
        assert torch.equal(fresh, added)


def test_a_class_that_cannot_win_is_left_out() -> None:
    scores, steps = drawn(9, 6, 7, 8), steps_to((6, 7, 8), (9, 10, 12))
    scores[[1, 4, 8]] -= 100
    scores[5] = scores[3]  # a tie
    assert plain._candidates(scores) == [2, 3, 5, 6, 7]
    wanted, _ = naive.window_argmax(scores.double(), steps)
    found, finite = plain.window_argmax(scores, steps)
    assert finite
    assert torch.equal(found, wanted)
    scores[4, 1, 2, 3] = torch.nan
    assert 4 in plain._candidates(scores)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_sums_of_other_precisions(each_form: str, dtype: torch.dtype) -> None:
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    accumulated(drawn(5, 4, 5, 6, dtype=dtype), kind=kind, start=(0, 1, 2), flip=(1,), softmax=True)


@given(
    shape=st.tuples(st.integers(1, 9), *[st.integers(1, 7)] * 3), softmax=st.booleans(),
    flip=st.lists(st.integers(0, 2), unique=True), values=st.sampled_from([1, 1 << 19]),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_any_box(shape: tuple[int, ...], softmax: bool, flip: list[int], values: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(plain._VALUES, "cpu", values)
        accumulated(drawn(*shape), start=[n // 3 for n in shape[1:]], flip=flip, softmax=softmax)


def test_large_scores_and_strided_ones(each_form: str) -> None:
    scores = (drawn(6, 5, 4, 3) * 1e4).permute(3, 2, 1, 0)
    window_sums, importance = torch.zeros(3, 4, 5, 6), torch.ones(1).expand(4, 5, 6)
    window_accumulate(window_sums, scores, importance, softmax=True)
    torch.testing.assert_close(window_sums, scores.softmax(0))


def test_same_bits_every_time(each_form: str) -> None:
    scores, steps = drawn(5, 4, 5, 6), steps_to((4, 5, 6), (5, 7, 9))
    assert torch.equal(window_argmax(scores, steps)[0], window_argmax(scores, steps)[0])
    how: dict[str, Any] = {"start": (0, 0, 0), "flip": (), "softmax": True}
    assert torch.equal(accumulated(scores, **how), accumulated(scores, **how))


def test_operators_are_well_registered_and_compile() -> None:
    scores, steps = drawn(3, 4, 5, 6), steps_to((4, 5, 6), (5, 7, 9))
    lower, upper, weight = (list(parts) for parts in zip(*steps, strict=True))
    torch.library.opcheck(torch.ops.omlab_kernels.window_argmax.default, (scores, lower, upper, weight))
    sums, importance = torch.zeros(3, 2, 2, 2), torch.rand(4, 5, 6)
    torch.library.opcheck(
        torch.ops.omlab_kernels.window_accumulate.default, (sums, scores, importance, [1, 0, 2], [0], True, False)
    )
    compiled = torch.compile(window_argmax, fullgraph=True, backend="aot_eager")(scores, steps)
    for one, other in zip(compiled, window_argmax(scores, steps), strict=True):
        assert torch.equal(one, other)
    wanted = torch.zeros(3, 2, 2, 2)
    window_accumulate(wanted, scores, importance, start=(1, 0, 2), flip=(0,))
    torch.compile(window_accumulate, fullgraph=True, backend="aot_eager")(
        sums, scores, importance, start=(1, 0, 2), flip=(0,)
    )
    assert torch.equal(sums, wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": torch.zeros(2, 3, 3)}, r"\(K, d, h, w\)"),
        ({"scores": torch.zeros(2, 3, 3, 3, dtype=torch.long)}, "floating-point"),
        ({"steps": steps_to((3, 3, 3), (4, 4, 4))[:2]}, "three axes, not 2"),
        ({"steps": [(torch.zeros(1), torch.zeros(1), torch.zeros(1))] * 3}, "int64, int64 and float32"),
        ({"steps": steps_to((3, 5, 3), (3, 5, 3))}, "axis of 3"),
    ],
)
def test_grids_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    given = {"scores": torch.zeros(2, 3, 3, 3), "steps": steps_to((3, 3, 3), (4, 4, 4)), **change}
    with pytest.raises(ValueError, match=message):
        window_argmax(given["scores"], given["steps"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sums": torch.zeros(3, 2, 2, 2)}, "one K"),
        ({"sums": torch.zeros(2, 2, 2, 2).bfloat16()}, "float32, float64 or float16"),
        ({"importance": torch.zeros(3, 3, 2)}, "window's shape"),
        ({"start": (0, 2, 0)}, "leaves the window"),
        ({"start": (-1, 0, 0)}, "leaves the window"),
        ({"flip": (3,)}, "0, 1 and 2"),
    ],
)
def test_sums_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    given = {"sums": torch.zeros(2, 2, 2, 2), "scores": torch.zeros(2, 3, 3, 3), "importance": torch.ones(3, 3, 3)}
    with pytest.raises(ValueError, match=message):
        window_accumulate(**{**given, **change})


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_gpu(gpu: torch.device, dtype: torch.dtype) -> None:
    scores = drawn(105, 17, 18, 19, dtype=dtype).to(gpu)
    compare(scores, steps_to((17, 18, 19), (31, 30, 29), nearest=0))
    for softmax in (False, True):
        importance = torch.rand(17, 18, 19, device=gpu)
        sums, wanted = (torch.zeros(105, 9, 10, 11, device=gpu, dtype=kind) for kind in (torch.float32, torch.float64))
        how: dict[str, Any] = {"start": (8, 0, 4), "flip": (0, 2), "softmax": softmax}
        window_accumulate(sums, scores, importance, **how)
        naive.window_accumulate(wanted, scores.double(), importance.double(), **how)
        assert (sums - wanted).abs().max() <= 3e-6 * wanted.abs().max()
        kept = torch.zeros(105, 9, 10, 11)
        window_accumulate(kept, scores, importance.cpu(), **how)
        assert (kept - wanted.cpu()).abs().max() <= 3e-6 * wanted.abs().max()
