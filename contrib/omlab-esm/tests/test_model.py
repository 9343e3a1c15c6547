"""Files of every form load or are refused with a reason, and an ensemble gives the mean of its members."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import omlab
from omlab.errors import WeightsError
from omlab_esm.ensemble import Ensemble
from omlab_esm.model import SIZES
from omlab_protein.language_model import LanguageModel
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
    found = omlab.load_model("esm2-tiny", weights=path).score(sequence=wild, mutants=variants)
    untrained_one = omlab.load_model("esm2-tiny").score(sequence=wild, mutants=variants)
    assert found.scores.tolist() != untrained_one.scores.tolist()
    vector = omlab.load_model("esm2-tiny", weights=path).embed(sequence=wild).vector
    assert vector.shape == (40,)


WILD, VARIANTS = Sequence(letters="MQIFVKTLTG"), Variants(mutants=("Q2A", "K6R:T7S", "WT"))


def test_a_folder_of_transformers_loads_whole_or_in_parts(tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in untrained(SIZES["esm2-tiny"], seed=5).state_dict().items()}
    names = list(state)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    save_file(state, whole / "model.safetensors")
    torch.save(state, whole / "pytorch_model.bin")
    save_file({name: state[name] for name in names[:9]}, parts / "model-00001-of-00002.safetensors")
    save_file({name: state[name] for name in names[9:]}, parts / "model-00002-of-00002.safetensors")
    found = [
        omlab.load_model("esm2-tiny", weights=folder).score(sequence=WILD, mutants=VARIANTS).scores.tolist()
        for folder in (whole, parts)
    ]
    assert found[0] == found[1]
    (parts / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match="lacks part 1 of 2"):
        omlab.load_model("esm2-tiny", weights=parts).score(sequence=WILD)


def test_an_ensemble_gives_the_mean_of_its_members_and_their_reason() -> None:
    settings = {"longest": 1022, "tokens": 4096}
    members = [
        LanguageModel(untrained(SIZES["esm2-tiny"], seed=seed), name="one", device="cpu", settings=settings)
        for seed in range(3)
    ]
    inputs = {"sequence": WILD, "mutants": VARIANTS}
    (mean,) = Ensemble(members).score([inputs], rule="masked")
    alone = [next(iter(member.score([inputs], rule="masked"))).scores for member in members]
    assert mean.scores == pytest.approx(sum(alone) / 3)
    wrong, right = Ensemble(members).score([{"sequence": WILD, "mutants": Variants(mutants=("A2Q",))}, inputs])
    assert "residue 2 is A, but it is Q" in str(wrong)
    assert right.scores[2] == 0
