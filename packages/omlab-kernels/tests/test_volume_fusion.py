"""`volume_fusion`: recorded draws of PyMIC give its images; every form gives the naive one's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omlab_kernels import volume_fusion, volume_fusion_boxes, volume_fusion_shuffled
from omlab_kernels.fusion import naive, op

GOLDEN = json.loads((Path(__file__).parent / "golden/misfm-volume-fusion.json").read_text())
CASES = GOLDEN["volume_fusion"]


@pytest.mark.parametrize("row", CASES["cases"], ids=["k4", "k2"])
def test_golden(each_form: str, drawn: Any, row: dict[str, Any]) -> None:
    first, second = (drawn(name, CASES["draw"][name]) for name in ("fg", "bg"))
    values = [draw[2] for draw in row["draws"]]
    block, offset, chosen = values[:3], values[3:6], torch.tensor(values[6])
    cells = [length // size for length, size in zip(first.shape[1:], block, strict=True)]
    classes = torch.zeros(len(chosen), dtype=torch.long)
    classes[chosen == 1] = torch.tensor(values[7:])
    fused, labels = volume_fusion(
        first, second, classes.reshape(cells), block=block, offset=offset, count=row["class_num"] - 1
    )
    assert labels.flatten().tolist() == row["label"]
    error = (fused.flatten() - torch.tensor(row["fused"])).abs().max()
    assert error <= GOLDEN["tolerance"]


def test_golden_shuffled_blocks(each_form: str, drawn: Any) -> None:
    row = GOLDEN["volume_fusion_shuffle"]
    first, second = (drawn(name, row["draw"][name]) for name in ("fg", "bg"))
    values = [draw[2] for draw in row["draws"]]
    block, offset, taken, given = values[:3], values[3:6], values[6], values[7]
    cells = [length // size for length, size in zip(first.shape[1:], block, strict=True)]
    classes, sources = torch.zeros(cells, dtype=torch.long), torch.arange(len(taken)).reshape(cells)
    for place, source, number in zip(given, taken, values[8:], strict=False):
        classes[tuple(place)] = number
        sources[tuple(place)] = (source[0] * cells[1] + source[1]) * cells[2] + source[2]
    fused, labels = volume_fusion_shuffled(
        first, second, classes, sources, block=block, offset=offset, count=row["class_num"] - 1
    )
    assert labels.flatten().tolist() == row["label"]
    assert (fused.flatten() - torch.tensor(row["fused"])).abs().max() <= GOLDEN["tolerance"]


def test_golden_boxes(each_form: str, drawn: Any) -> None:
    row = GOLDEN["volume_fusion_batch"]
    batch = drawn("batch", row["draw"]["batch"])
    values = iter([draw[2] for draw in row["draws"]])
    made = []
    for first, second in zip(batch.roll(1, 0), batch, strict=True):
        rows = [[next(values) for _ in range(7)] for _ in range(next(values))]
        boxes = [(tuple(one[3:6]), tuple(one[:3]), one[6]) for one in rows]
        made.append(volume_fusion_boxes(first, second, boxes, count=row["fg_num"]))
    fused, labels = (torch.stack(parts) for parts in zip(*made, strict=True))
    assert labels.flatten().tolist() == row["label"]
    assert (fused.flatten() - torch.tensor(row["fused"])).abs().max() <= GOLDEN["tolerance"]


def test_older_forms_say_what_does_not_fit() -> None:
    volume, cells = torch.zeros(1, 4, 4, 4), torch.zeros(2, 2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="0 to 4, not 5"):
        volume_fusion_boxes(volume, volume, [((0, 0, 0), (1, 1, 1), 5)], count=4)
    grid: dict[str, Any] = {"block": (2, 2, 2), "offset": (0, 0, 0), "count": 4}
    with pytest.raises(ValueError, match="0 to 7, not 0 to 8"):
        volume_fusion_shuffled(volume, volume, cells, cells.index_fill(0, torch.tensor([1]), 8), **grid)
    with pytest.raises(ValueError, match="Sources are integers"):
        volume_fusion_shuffled(volume, volume, cells, cells[:1], **grid)


def case(shape: tuple[int, ...], cells: tuple[int, ...], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    torch.manual_seed(sum(shape))
    block = [max(1, length // (n + 1)) for length, n in zip(shape[1:], cells, strict=True)]
    cells = tuple(min(n, length // size) for n, length, size in zip(cells, shape[1:], block, strict=True))
    offset = [(length - n * size) // 2 for n, length, size in zip(cells, shape[1:], block, strict=True)]
    return {
        "first": torch.rand(shape).to(dtype), "second": torch.rand(shape).to(dtype),
        "classes": torch.randint(0, 5, cells), "block": block, "offset": offset, "count": 4,
    }  # fmt: skip


def compare(given: dict[str, Any], tolerance: float) -> None:
    exact = {**given, "first": given["first"].double(), "second": given["second"].double()}
    fused, labels = volume_fusion(**given)
    wanted, wanted_labels = naive.volume_fusion(**exact)
    assert fused.dtype == given["first"].dtype
    assert torch.equal(labels, wanted_labels)
    assert (fused.double() - wanted).abs().max() <= tolerance * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 9, 10, 11), (1, 17, 1, 70)])
def test_agrees_with_the_naive_form(each_form: str, shape: tuple[int, ...]) -> None:
    compare(case(shape, (3, 2, 4)), 1e-6)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 2**-7), (torch.float16, 2**-11), (torch.float64, 1e-15)]
)
def test_other_precisions(each_form: str, dtype: torch.dtype, tolerance: float) -> None:
    compare(case((1, 9, 10, 11), (3, 2, 4), dtype), tolerance)


def test_strides(each_form: str) -> None:
    given = case((2, 6, 7, 8), (2, 2, 2))
    wide: Tensor = torch.zeros(2, 6, 8, 14)
    given["first"] = wide.mT[:, :, ::2].copy_(given["first"])
    given["second"] = given["second"].movedim(0, -1).contiguous().movedim(-1, 0)
    compare(given, 1e-6)


@pytest.mark.usefixtures("interpreted")
def test_channels_beyond_two_to_the_31_elements(far_apart: Callable[[Tensor], Tensor]) -> None:
    first, second = torch.randn(2, 1, 3, 4, 5, 6).half()
    grid: dict[str, Any] = {"block": (2, 2, 3), "offset": (0, 0, 0), "count": 2}
    classes = torch.randint(3, (2, 2, 2))
    near = volume_fusion(first[0], second[0], classes, **grid)
    far = volume_fusion(far_apart(first)[0], far_apart(second)[0], classes, **grid)
    assert all(torch.equal(one, other) for one, other in zip(near, far, strict=True))


@settings(max_examples=10, deadline=None)
@given(shape=st.tuples(st.integers(1, 3), *[st.integers(1, 12)] * 3), cells=st.tuples(*[st.integers(0, 4)] * 3))
def test_any_grid(shape: tuple[int, ...], cells: tuple[int, ...]) -> None:
    compare(case(shape, cells), 1e-6)


def test_empty_volume() -> None:
    given = case((1, 2, 2, 2), (0, 0, 0))
    given["first"] = given["second"] = torch.zeros(0, 2, 2, 2)
    assert volume_fusion(**given)[0].shape == (0, 2, 2, 2)


def test_operator_is_well_registered_and_compiles() -> None:
    given = case((1, 5, 6, 7), (2, 2, 2))
    torch.library.opcheck(op._fusion, tuple(given.values()))
    compiled = torch.compile(volume_fusion, fullgraph=True, backend="aot_eager")(**given)
    for one, other in zip(compiled, volume_fusion(**given), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": torch.zeros(1, 5, 6, 8)}, "one shape"),
        ({"classes": torch.zeros(2, 2)}, "three axes"),
        ({"classes": torch.full((2, 2, 2), 5)}, "0 to 4, not 5"),
        ({"count": 0}, "1 to 255"),
        ({"offset": [0, 0, 9]}, "do not lie within 7"),
        ({"block": [0, 2, 2]}, "blocks of 0"),
    ],
)
def test_what_does_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        volume_fusion(**{**case((1, 5, 6, 7), (2, 2, 2)), **change})


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 2**-11), (torch.bfloat16, 2**-8)]
)
def test_gpu(gpu: torch.device, dtype: torch.dtype, tolerance: float) -> None:
    given = case((2, 63, 65, 67), (3, 5, 4), dtype)
    for name in ("first", "second", "classes"):
        given[name] = given[name].to(gpu)
    compare(given, tolerance)
