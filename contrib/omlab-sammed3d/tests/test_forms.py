"""The golden blocks and networks in other forms of the attention, padded and Triton's. The kit checks the plain one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from omlab_sammed3d.attention import RelativeAttention
from omlab_sammed3d.encoder import Block
from omlab_sammed3d.naive import padded_attention
from omlab_testkit import golden, parity

TESTS = Path(__file__).resolve().parent
CASES = sorted((TESTS / "golden").glob("block_*.json"))
NETWORKS = sorted((TESTS / "golden").glob("vit_b_*.json"))
CASE, LARGER = "block_windowed_5x9x17_w7", ("block_global_8x8x8", "block_windowed_8x8x8")


def answer(path: Path) -> dict[str, float]:
    return parity.check_case(parity.load_parity(TESTS), path)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_block_in_the_padded_form(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RelativeAttention, "forward", lambda self, x: padded_attention(self, x).cropped)
    assert max(answer(path).values()) < 1e-5


@pytest.mark.parametrize("name", [CASE, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER)])
@pytest.mark.usefixtures("interpreted")
def test_a_block_in_tritons_form(name: str) -> None:
    assert max(answer(TESTS / "golden" / f"{name}.json").values()) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_a_network_in_the_padded_form(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RelativeAttention, "forward", lambda self, x: padded_attention(self, x).cropped)
    assert max(answer(path).values()) < 1e-5


@pytest.mark.slow
@pytest.mark.usefixtures("interpreted")
def test_a_network_in_tritons_form() -> None:
    assert max(answer(TESTS / "golden" / "vit_b_ori_depth3_128.json").values()) < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_block_on_a_gpu(path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    case = golden.read_case(path)
    assert case is not None
    answers = parity.load_parity(TESTS)
    block = answers.build(dict(case))
    golden.load_drawn(case, block)
    assert isinstance(block, Block)
    tokens = golden.draw_inputs(case)["tokens"]
    with torch.inference_mode():
        wanted = block(tokens)
        found = block.cuda()(tokens.cuda()).cpu()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def network_case(**build: Any) -> dict[str, Any]:
    shape = {
        "img_size": 64,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 3,
        "global_attn_indexes": [1],
        "window_size": 3,
        "prompt_embed_dim": 48,
        "num_multimask_outputs": 3,
        "point_embeddings": 4,
    }
    return {"build": shape | build, "outputs": {}, "state": []}


def answered(case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    answers = parity.load_parity(TESTS)
    module = answers.build(case)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in module.state_dict().values():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.2)
    return dict(answers.run(module, case, inputs))


@pytest.mark.parametrize("build", [{}, {"img_size": 48}, {"patch_size": 8, "img_size": 32}, {"rel_pos": "textbook"}])
@pytest.mark.parametrize("clicks", [1, 3])
def test_further_cases_of_the_same_form_are_answered_alike_in_both_forms(
    build: dict[str, Any], clicks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = network_case(**build)
    size = case["build"]["img_size"]
    grid = size // case["build"].get("patch_size", 16)
    generator = torch.Generator().manual_seed(1)
    inputs = {
        "image": torch.randn(1, 1, size, size, size, generator=generator),
        "point_coords": torch.randint(0, size, (1, clicks, 3), generator=generator).float(),
        "point_labels": torch.ones(1, clicks, dtype=torch.int64),
        "mask_input": torch.randn(1, 1, *(4 * grid,) * 3, generator=generator),
        "box_min": torch.tensor([[1.0, 2.0, 3.0]]),
        "box_max": torch.tensor([[20.0, 21.0, 22.0]]),
    }
    first = answered(case, inputs)
    monkeypatch.setattr(RelativeAttention, "forward", lambda self, x: padded_attention(self, x).cropped)
    second = answered(case, inputs)
    assert first.keys() == second.keys()
    assert {"low_res_box", "low_res_1click_mask_input", "low_res_mask_only"} <= first.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-4)


def test_a_case_with_a_box_alone_is_answered() -> None:
    image = torch.randn(1, 1, 32, 32, 32)
    found = answered(network_case(img_size=32), {"image": image, "boxes": torch.tensor([[1.0, 2, 3, 20, 21, 22]])})
    assert found["low_res_box"].shape == (1, 1, 8, 8, 8)


def test_every_golden_file_is_a_case_of_a_known_form() -> None:
    names = {path.name for path in (TESTS / "golden").glob("*.json")}
    network = {path.name for path in parity.find_cases([TESTS / "golden"])}
    assert names - network == {"algorithms.json"}
    known = {"reference", "about", "dice_ce_loss", "click_training", "click_inference", "click_ritm"}
    recorded = json.loads((TESTS / "golden" / "algorithms.json").read_text())
    assert set(recorded) == known | {"crop_to_label", "z_normalise", "sliding_window"}
