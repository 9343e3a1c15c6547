"""How this package answers golden files: scaled rotary positions, chats, and the reference of GPTQ beside this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig

from omlab_pulse.rope import DynamicRotary, dynamic_alpha, parameters, rotary
from omlab_testkit.expected import among, answer_parts
from omlab_testkit.golden import standard
from omlab_testkit.parity import load_file
from omlab_text.chat import Chat, Turn
from omlab_text.chat_format import layout

Case = Mapping[str, Any]
ROPES = {"ntk-static": "static", "ntk-dynamic": "dynamic", "linear": "linear", "yarn": "yarn"}
SHOWN = 64
"""Weights of a layer that a case records."""

gptq = load_file(Path(__file__).resolve().parent / "gptq.py")


class Bytes:
    """The toy tokenizer of the cases."""

    bos = 1

    def ids(self, text: str) -> list[int]:
        return [10 + byte for byte in text.encode()]

    def id(self, token: str) -> int:
        return {"</s>": 2}[token]


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file of cases: of rotary positions, of chats, or of GPTQ."""
    return answer_parts(case, {"cases": _cases}, about={"reference", "inputs", "tokenizer", "system", "layout"})


def _cases(cases: list[Case], whole: Case) -> float:
    return max(_answer(one)(one, whole) for one in cases)


def _answer(one: Case) -> Callable[[Case, Case], float]:
    if "turns" in one:
        return _chat
    if "act_order" in one:
        return _gptq
    if one.get("kind") in ROPES:
        return _rope
    raise KeyError(one.get("kind", next(iter(one))))


def _rope(one: Case, _whole: Case) -> float:
    rope, length = ROPES[one["kind"]], one.get("length", 1)
    trained = one.get("max_position", 4096)
    config = LlamaConfig(
        hidden_size=one["dim"],
        num_attention_heads=1,
        max_position_embeddings=trained,
        rope_parameters={"rope_type": "default", "rope_theta": one["theta"]},
    )
    factor = one["alpha"] if rope == "static" else one["factor"]
    config.rope_parameters = parameters(config, rope=rope, factor=factor)
    module = rotary(config)
    lengths = torch.tensor([length], dtype=torch.float64)
    if isinstance(module, DynamicRotary):
        frequencies = module.frequencies(lengths)[0]
        alpha, theta = dynamic_alpha(lengths, trained=trained, factor=factor).item(), module.base(lengths).item()
    else:
        frequencies = module.inv_freq
        alpha, theta = factor, config.rope_parameters["rope_theta"]
    found = {
        "alpha": alpha,
        "new_theta": theta,
        "inv_freq": {place: frequencies[int(place)].item() for place in one["inv_freq"]},
        "attention_factor": module(torch.ones(1), torch.zeros(1, 1, dtype=torch.long))[0].max().item(),  # of cos(0)
    }
    inputs = {"kind", "theta", "dim", "factor", "max_position", "length"}
    return among(found, one, about=inputs | ({"alpha"} if rope == "static" else set()))


def _chat(one: Case, whole: Case) -> float:
    turns = [Turn(role="system", text=whole["system"])]
    for question, answer in one["turns"]:
        turns += [Turn(role="user", text=question), Turn(role="assistant", text=answer)]
    format = layout("pulse-v5-bos" if one["bos"] else "pulse-v5").on(Bytes())
    encoded = format.encode(Chat(turns=tuple(turns)), prompt=False)
    found = {
        "length": len(encoded.ids),
        "trained": sum(end - begin for begin, end in encoded.answers),
        "ids_head": encoded.ids[: len(one["ids_head"])],
        "ids_tail": encoded.ids[-len(one["ids_tail"]) :],
        "label_spans": encoded.answers,
    }
    return among(found, one, about={"bos", "turns"})


def _gptq(one: Case, _whole: Case) -> float:
    rows, columns, salt = one["out"], one["inp"], one["salt"]
    weight = torch.from_numpy(standard((rows, columns), salt=salt, name="weight") / np.float32(columns**0.5))
    scales = torch.linspace(0.2, 2, columns)
    inputs = torch.from_numpy(standard((1, one["samples"], columns), salt=salt, name="x")) * scales
    hessian = gptq.hessian_of(inputs)
    grid = {"bits": one["bits"], "group": one["group"], "symmetric": one["symmetric"]}
    done = gptq.gptq(weight, hessian, damp=one["damp"], act_order=one["act_order"], **grid)
    rounded = gptq.rounded(weight, **grid)

    def loss(other: torch.Tensor) -> float:
        return float(((inputs @ (weight - other).T) ** 2).mean())

    found = {
        "hessian_diag": hessian.diagonal()[: len(one["hessian_diag"])],
        "scale": done.scale.flatten(),
        "zero": done.zero.flatten(),
        "group_of_column": done.group_of_column,
        "codes": done.codes.flatten(),
        "weight": done.weight.flatten()[:SHOWN],
        "error": done.error,
        "output_mse_gptq": loss(done.weight),
        "output_mse_rtn": loss(rounded),
        "rtn": rounded.flatten()[:SHOWN],
    }
    return among(found, one, about={"salt", "out", "inp", "samples", "damp", "act_order", *grid})
