"""Every published naming of the same network loads to the same logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from omlab.errors import WeightsError
from omlab_protein.alphabet import encode
from omlab_protein.network import Esm, EsmConfig, packed, untrained
from omlab_protein.weights import load_network, recognise

PLAIN = EsmConfig(layers=2, width=40, heads=20, feed_forward=48)


def fair(state: Mapping[str, Tensor], *, prefix: str) -> dict[str, Tensor]:
    """fair-esm's names, written out the other way round."""
    names = [
        ("esm.embeddings.word_embeddings", "embed_tokens"),
        ("esm.embeddings.position_embeddings", "embed_positions"),
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
    found = {}
    for key, value in state.items():
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        found[("encoder." if key.startswith("lm_head") and prefix else prefix) + key] = value
    return found


def logits(network: Esm) -> Tensor:
    tokens, layout = packed([encode("MQIFVKTL", vocabulary=network.config.vocabulary)])
    with torch.inference_mode():
        return network(tokens, layout)


def forms(network: Esm) -> dict[str, dict[str, Any]]:
    state = dict(network.state_dict())
    contact = {"esm.contact_head.regression.weight": torch.zeros(1, 40)}
    if network.config.positions == "rotary":
        contact |= {"esm.rotary_embeddings.inv_freq": torch.ones(1)}
    hub = {key.replace("esm.", "pro_prime.", 1): value for key, value in state.items()}
    return {
        "transformers": state | contact,
        "tied": {key: value for key, value in state.items() if key != "lm_head.decoder.weight"},
        "hub": hub | {"sequence_pooling.something.weight": torch.zeros(3)},
        "2023": {key.replace("esm.", "model.", 1): value for key, value in state.items()},
        "fair-esm": fair(state, prefix=""),
        "fair-esm file": fair(state, prefix="encoder.sentence_encoder."),
    }


@pytest.mark.parametrize("form", ["transformers", "tied", "hub", "2023", "fair-esm", "fair-esm file"])
@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        EsmConfig(layers=1, width=40, heads=20, feed_forward=48, positions="learned", max_tokens=30),
        EsmConfig(layers=1, width=40, heads=20, feed_forward=48, vocabulary=25, tied=False),
    ],
    ids=["esm2", "esm1v", "prime-2023"],
)
def test_every_naming_gives_the_same_network(config: EsmConfig, form: str) -> None:
    network = untrained(config)
    if form == "tied" and not config.tied:
        pytest.skip("its head has a matrix of its own")
    found = recognise(forms(network)[form], source="x.pt")
    assert found.config == config
    assert list(found.rest) == (["sequence_pooling.something.weight"] if form == "hub" else [])
    assert torch.equal(logits(load_network(found, source="x.pt")), logits(network))


def test_a_table_of_positions_beside_angles_is_not_used() -> None:
    network = untrained(PLAIN)
    table = {"esm.embeddings.position_embeddings.weight": torch.zeros(30, 40)}
    angles = {"esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq": torch.ones(1)}
    found = recognise({**network.state_dict(), **table, **angles}, source="x.pt")
    assert found.config == PLAIN
    assert torch.equal(logits(load_network(found, source="x.pt")), logits(network))


def test_what_is_lacking_is_named() -> None:
    state = dict(untrained(PLAIN).state_dict())
    with pytest.raises(WeightsError, match="no embedding of residues"):
        recognise({"conv.weight": torch.zeros(1)}, source="x.pt")
    del state["esm.encoder.layer.1.output.dense.bias"]
    with pytest.raises(WeightsError, match=r"1 missing: esm\.encoder\.layer\.1\.output\.dense\.bias"):
        load_network(recognise(state, source="x.pt"), source="x.pt")
