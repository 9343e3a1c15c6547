"""How this package answers golden cases of any depth, width and vocabulary: language models and regressions.

`check` answers the file without a network of its own: scores by every rule, windows, ranks. Its network is that of the
case `esm2_d2`, whose weights are drawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omlab_prime.network import Temperature
from omlab_protein.alphabet import MASK, PAD, encode
from omlab_protein.network import Esm, EsmConfig, padded
from omlab_protein.ranks import spearman
from omlab_protein.scoring import log_probabilities, score
from omlab_protein.substitutions import all_single, parse
from omlab_protein.weights import allocate, load_network, our_names, recognise
from omlab_protein.windows import window_for
from omlab_testkit.expected import Answer, among, answer_parts, difference
from omlab_testkit.golden import draw_state

Case = Mapping[str, Any]
GOLDEN = Path(__file__).resolve().parent / "golden"


class Published(nn.Module):
    """A network under the keys of a published file, whatever form that is: of PRIME, transformers or fair-esm.

    Keys are those that `omlab_protein.weights` reads: an entry that it does not know, or that the network lacks, is
    an error.
    """

    def __init__(self, network: Esm | Temperature, *, keys: Sequence[str]) -> None:
        super().__init__()
        self.network = [network]  # in a list: its keys are those below, once
        config, half = network.config, network.config.width // network.config.heads // 2
        ours = network.state_dict(keep_vars=True)
        names = {theirs: name for name, theirs in our_names(keys).items()}
        for key in keys:
            if key.endswith("inv_freq"):
                self._put(key, 10000.0 ** (-torch.arange(half) / half))
            elif key.endswith("contact_head.regression.weight"):
                self._put(key, nn.Parameter(torch.zeros(1, config.layers * config.heads)))
            elif key.endswith("contact_head.regression.bias"):
                self._put(key, nn.Parameter(torch.zeros(1)))
            else:
                self._put(key, ours.pop(names[key]))
        left = set(ours) - {"center", "spread"}
        if left:
            raise KeyError(f"the case has no entry for {min(left)}")

    def _put(self, key: str, tensor: Tensor) -> None:
        place: nn.Module = self
        *path, leaf = key.split(".")
        for name in path:
            if name not in dict(place.named_children()):
                place.add_module(name, nn.Module())
            place = place.get_submodule(name)
        if isinstance(tensor, nn.Parameter):
            place.register_parameter(leaf, tensor)
        else:
            place.register_buffer(leaf, tensor)


def build(case: dict[str, Any]) -> Published:
    """The network with the case's hyper-parameters, untrained, in eval mode."""
    facts = case["build"]
    if facts.get("pad_token_id", PAD) != PAD or facts.get("mask_token_id", MASK) != MASK:
        raise ValueError(f"{case['model']}: the alphabet has padding at {PAD} and the mask at {MASK}")
    regression = case["model"] == "prime_regression"
    rotary = facts.get("position", facts.get("position_embedding_type", "rotary")) == "rotary"
    learned = {} if rotary else {"positions": "learned", "max_tokens": facts["max_position_embeddings"] - PAD - 1}
    config = EsmConfig(
        layers=facts["num_hidden_layers"],
        width=facts["hidden_size"],
        heads=facts["num_attention_heads"],
        feed_forward=facts["intermediate_size"],
        vocabulary=facts["vocab_size"],
        outputs=0 if regression else facts.get("output_size", facts["vocab_size"]),
        tied=not regression and facts["vocab_size"] > MASK,
        eps=facts.get("layer_norm_eps", 1e-5),
        first_norm=facts.get("emb_layer_norm_before", False),
        **learned,
    )
    network = Temperature(config) if regression else allocate(config)
    return Published(network, keys=[key for key, *_ in case["state"]]).eval()


def run(module: Published, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every output that a case of these networks may name."""
    network = module.network[0]
    tokens = noted(inputs["input_ids"].clone(), case["notes"])
    batch, length = tokens.shape
    flat, layout = padded(tokens, inputs.get("attention_mask", tokens != PAD))
    with torch.inference_mode(), _recorded(network) as outputs:
        result = network(flat, layout)
    kept = next((one["shape"][1] for one in case["outputs"].values() if len(one["shape"]) == 3), length)
    found = {
        name: value.view(batch, length, -1)[:, :kept] for name, value in outputs.items() if len(value) == batch * length
    }
    if isinstance(network, Temperature):
        return found | {"pooled": outputs["pooled"], "value": result[:, None]}
    return found | {"logits": result.view(batch, length, -1)[:, :kept]}


_PLACED = re.compile(r"((?:\[\d+,\d*:?\]\s*)+|columns? \d+(?:\.\.)?|last column) := (\d+)")


def noted(tokens: Tensor, notes: str) -> Tensor:
    """The drawn tokens with what a case's notes put in, such as `[0,7] [1,11] := 32` or `columns 30.. := 1`.

    A column that is spoken of after `in row 1` is put there alone, where there is such a row.
    """
    rows = notes.find("in row 1")
    for match in _PLACED.finditer(notes):
        where, value = match[1], int(match[2])
        if where.startswith("["):
            for row, column, onwards in re.findall(r"\[(\d+),(\d+)(:?)\]", where):
                if int(row) < len(tokens):
                    tokens[int(row), int(column) :][: None if onwards else 1] = value
        else:
            into = tokens if rows < 0 or match.start() < rows else tokens[1:2]
            number = re.search(r"\d+", where)
            column = tokens.shape[1] - 1 if number is None else int(number[0])
            into[:, column:][:, : None if where.endswith("..") else 1] = value
    return tokens


@contextmanager
def _recorded(network: Esm | Temperature) -> Iterator[dict[str, Tensor]]:
    """What the parts of the network give, by the cases' names for them."""
    trunk = network.esm
    parts: dict[str, nn.Module] = {"embedding": trunk.embeddings, "encoder": trunk.encoder.emb_layer_norm_after}
    for number, layer in enumerate(trunk.encoder.layer):
        parts |= {f"layer{number}": layer, f"layer{number}_attention": layer.attention}
    if isinstance(network, Temperature):
        parts["pooled"] = network.regression.attention1d
    outputs: dict[str, Tensor] = {}
    handles = []
    for name, part in parts.items():

        def keep(_module: nn.Module, inputs: Any, output: Tensor, *, name: str = name) -> None:
            # a case's attention is the stream after it, ours what is added
            outputs[name] = inputs[0] + output if name.endswith("_attention") else output.clone()

        handles.append(part.register_forward_hook(keep))
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from the file of scores, by its parts."""
    answers: dict[str, Answer] = {
        "tokens": lambda part, whole: difference(encode(whole["sequence"]), part),
        "wt_marginals": lambda part, whole: _scores(part, whole, rule="wild-type"),
        "wt_marginals_prime25": lambda part, whole: _scores(part, whole, rule="wild-type", early=True),
        "masked_marginals_one_site_at_a_time": lambda part, whole: _scores(part, whole, rule="masked"),
        "masked_marginals_sites_together": lambda part, whole: _scores(part, whole, rule="masked-together"),
        "logp_row_44": lambda part, whole: difference(
            log_probabilities(_network(early=False), whole["sequence"])[44].tolist(), part
        ),
        "full_scan_checksum": _scan,
        "window": _windows,
        "spearman": lambda part, _: among({"value": spearman(part["a"], part["b"])}, part, about={"doc", "a", "b"}),
    }
    return answer_parts(case, answers, about={"reference", "doc", "sequence"})


@cache
def _network(*, early: bool) -> Esm:
    """The network of `esm2_d2`; `early`: the form of 2023 with the first 25 rows of its embedding."""
    state = draw_state(json.loads((GOLDEN / "esm2_d2.json").read_text()))
    if early:
        name = "esm.embeddings.word_embeddings.weight"
        state |= {name: state[name][:25], "lm_head.decoder.weight": state[name]}
    found = recognise(state, source="esm2_d2")
    return load_network(found, source="esm2_d2")


def _scores(part: Case, whole: Case, *, rule: Any, early: bool = False) -> float:
    """Of a list, not a mapping: a number close to 0 is measured by the spread of all."""
    found = score(_network(early=early), whole["sequence"], list(part), rule=rule)
    return difference(found.tolist(), list(part.values()))


def _scan(part: Case, whole: Case) -> float:
    scores = score(_network(early=False), whole["sequence"], list(all_single(whole["sequence"])))
    found = {
        "mean": scores.mean(),
        "count": len(scores),
        "std": scores.std(),
        "first": scores[: len(part["first"])].tolist(),
        "last": scores[len(scores) - len(part["last"]) :].tolist(),
    }
    return among(found, part, about={"doc"})


def _windows(part: Case, whole: Case) -> float:
    far = []
    for row in part["cases"]:
        found = window_for([parse(one) for one in row["mutants"]], length=row["length"], longest=row["max_len"])
        answer = {
            "kept": [row["mutants"][number] for number in found.kept],
            "window_length": found.stop - found.start,
            "window_start": found.start,
            "offset": found.offset,
        }
        far.append(among(answer, row, about={"length", "max_len", "mutants"}))
    return max(far)
