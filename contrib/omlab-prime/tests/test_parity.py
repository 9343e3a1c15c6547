"""`parity.py` looks at every expectation of the file of scores, and names what it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from omlab_protein.network import packed
from omlab_testkit.expected import check_notices
from omlab_testkit.golden import check_keys
from omlab_testkit.parity import load_file

TESTS = Path(__file__).resolve().parent
PARITY = load_file(TESTS / "parity.py")
CHECK = PARITY.check
SCORES: dict[str, Any] = json.loads((TESTS / "golden" / "scores.json").read_text())
EXPECTED = {
    "tokens": {"tokens"},
    "full_scan_checksum": {"mean", "count", "std", "first", "last"},
    "window": {"kept", "window_length", "window_start", "offset"},
    "spearman": {"value"},
}


@pytest.mark.parametrize("part", EXPECTED)
def test_another_expectation_is_noticed(part: str) -> None:
    assert check_notices(CHECK, {"sequence": SCORES["sequence"], part: SCORES[part]}, expected=EXPECTED[part])


def test_another_score_is_noticed() -> None:
    case = {"sequence": SCORES["sequence"], "wt_marginals": SCORES["wt_marginals"] | {"K6R": 2.6}}
    assert CHECK(case)["wt_marginals"] > 0.01


def test_a_part_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="epistasis"):
        CHECK(SCORES | {"epistasis": {}})


def tiny(prefix: str, *, model: str, vocabulary: int = 33) -> dict[str, Any]:
    """A case of another size, without recorded numbers, under the keys that a form begins with."""
    case = json.loads((TESTS / "golden" / "esm2_d2.json").read_text())
    width, hidden = 40, 48
    sizes = {1280: width, 5120: hidden, 33: vocabulary, 32: 1}
    rows = [row for row in case["state"] if "contact_head" not in row[0] or prefix == "esm."]
    state = [[key.replace("esm.", prefix, 1), [sizes.get(n, n) for n in shape], *rest] for key, shape, *rest in rows]
    build = case["build"] | {"hidden_size": width, "intermediate_size": hidden, "vocab_size": vocabulary}
    return case | {"model": model, "build": build, "state": state}


def renamed(case: dict[str, Any], names: list[tuple[str, str]]) -> dict[str, Any]:
    state = []
    for key, *rest in case["state"]:
        for old, new in names:
            key = key.replace(old, new)
        state.append([key, *rest])
    return case | {"state": state}


FAIR = [
    ("esm.embeddings.word_embeddings", "embed_tokens"),
    ("esm.encoder.emb_layer_norm_after", "emb_layer_norm_after"),
    ("esm.encoder.layer", "layers"),
    (".attention.self.query", ".self_attn.q_proj"),
    (".attention.self.key", ".self_attn.k_proj"),
    (".attention.self.value", ".self_attn.v_proj"),
    (".attention.output.dense", ".self_attn.out_proj"),
    (".attention.LayerNorm", ".self_attn_layer_norm"),
    (".LayerNorm", ".final_layer_norm"),
    (".intermediate.dense", ".fc1"),
    (".output.dense", ".fc2"),
    ("lm_head.decoder.weight", "lm_head.weight"),
]


@pytest.mark.parametrize("form", ["transformers", "hub", "fair-esm"])
def test_every_published_form_of_another_size_is_answered_alike(form: str) -> None:
    case = tiny("pro_prime." if form == "hub" else "esm.", model="esm2_mlm")
    if form == "fair-esm":
        case = renamed(case, FAIR)
    module = PARITY.build(case)
    check_keys(case, module)
    with torch.no_grad():
        for number, parameter in enumerate(module.network[0].parameters()):
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).roll(number).view(parameter.shape))
    tokens = torch.full((1, 60), 5)
    found = PARITY.run(module, case, {"input_ids": tokens})["logits"]
    expected = module.network[0](*packed(PARITY.noted(tokens.clone(), case["notes"]).tolist()))
    torch.testing.assert_close(found[0], expected[:40], atol=1e-4, rtol=1e-4)


def test_notes_say_which_tokens_are_put_in() -> None:
    tokens = PARITY.noted(torch.full((2, 8), 9), "column 0 := 0, last column := 2, [0,3] [1,2] := 32, [1,4:] := 1")
    assert tokens.tolist() == [[0, 9, 9, 32, 9, 9, 9, 2], [0, 9, 32, 9, 1, 1, 1, 1]]
    notes = "column 0 := 0 (start), last column := 2; in row 1 (if there is one) column 4 := 2 and columns 5.. := 1"
    assert PARITY.noted(torch.full((2, 8), 9), notes).tolist() == [[0, *[9] * 6, 2], [0, 9, 9, 9, 2, 1, 1, 1]]
    assert PARITY.noted(torch.full((1, 8), 9), notes).tolist() == [[0, *[9] * 6, 2]]
