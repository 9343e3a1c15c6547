"""Files of another size are refused, and long sequences fit into learned positions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import omlab
from omlab.errors import WeightsError
from omlab_esm.model import SIZES
from omlab_protein.network import EsmConfig, untrained
from omlab_protein.sequence import Sequence
from omlab_protein.variants import Variants


def test_a_file_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    torch.save(untrained(EsmConfig(layers=1, width=40, heads=20, feed_forward=80)).state_dict(), path)
    with pytest.raises(WeightsError, match=r"1 layers of width 40 .* not esm2-tiny"):
        omlab.load_model("esm2-tiny", weights=path).embed(sequence=Sequence(letters="MKT"))


def test_a_file_of_transformers_scores_as_the_network_that_it_was_saved_from(tmp_path: Path) -> None:
    network = untrained(SIZES["esm2-tiny"], seed=5)
    path = tmp_path / "model.pt"
    torch.save(network.state_dict() | {"esm.contact_head.regression.bias": torch.zeros(1)}, path)
    wild, variants = Sequence(letters="MQIFVKTLTG" * 3), Variants(mutants=("Q2A", "K6R:T7S"))
    found = omlab.load_model("esm2-tiny", weights=path).score(sequence=wild, variants=variants)
    untrained_one = omlab.load_model("esm2-tiny").score(sequence=wild, variants=variants)
    assert found.scores.tolist() != untrained_one.scores.tolist()
    vector = omlab.load_model("esm2-tiny", weights=path).embed(sequence=wild).vector
    assert vector.shape == (40,)
