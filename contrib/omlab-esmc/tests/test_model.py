"""Ours beside direct calls of the package esm, with drawn weights; files, sizes, an environment without it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from esm.sdk.api import ESMProteinTensor, LogitsConfig
from esm.tokenization import EsmSequenceTokenizer

import omlab
from omlab.errors import MissingDependencyError, WeightsError
from omlab.registry import registry
from omlab_esmc.model import SIZES
from omlab_esmc.network import untrained
from omlab_protein.alphabet import INDEX, LETTERS, MASK, encode
from omlab_protein.network import packed
from omlab_protein.sequence import Sequence
from omlab_protein.variants import Variants

WILD = "MQIFVKTLTGKTITLE"
TINY = ["esmc-tiny", "esm3-tiny"]


def published(name: str) -> Any:
    """The network as the package esm makes it: with the attention that `Esm3` leaves out."""
    network = untrained(SIZES[name], seed=3).esm.published
    if name == "esm3-tiny":
        network.transformer.blocks[0].use_geom_attn = True
    return network


def direct(network: Any, tokens: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (L, 64) and embeddings (L, width) by the package's own interface."""
    asked = LogitsConfig(sequence=True, return_embeddings=True)
    answer = network.logits(ESMProteinTensor(sequence=torch.tensor(tokens)), asked)
    return answer.logits.sequence[0], answer.embeddings[0]


def saved(name: str, folder: Path) -> Path:
    """A file of that network, as the published ones are."""
    path = folder / f"{name}.pth"
    torch.save(published(name).state_dict(), path)
    return path


def test_the_alphabet_is_that_of_the_package() -> None:
    letters = "".join(sorted(LETTERS))
    assert EsmSequenceTokenizer().encode(letters) == encode(letters)
    assert EsmSequenceTokenizer().mask_token_id == MASK


@pytest.mark.parametrize("name", TINY)
def test_logits_and_features_are_those_of_a_direct_call(name: str) -> None:
    network, theirs = untrained(SIZES[name], seed=3), published(name)
    sequences = [encode(WILD), encode("MXB"), encode(WILD[::-1])]
    sequences[0][4] = sequences[0][9] = MASK
    tokens, layout = packed(sequences)
    with torch.inference_mode():
        logits, features = network(tokens, layout), network.esm(tokens, layout)
        some = network(tokens, layout, rows=torch.tensor([4, 20]))
    wanted = [torch.cat(parts) for parts in zip(*(direct(theirs, own) for own in sequences), strict=True)]
    torch.testing.assert_close(logits, wanted[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(features, wanted[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(some, wanted[0][[4, 20]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_scores_are_differences_of_the_published_files_probabilities(name: str, tmp_path: Path) -> None:
    session, theirs = omlab.load_model(name, weights=saved(name, tmp_path), device="cpu"), published(name)
    inputs = {"sequence": Sequence(letters=WILD), "mutants": Variants(mutants=("Q2A", "K6R:T7S", "WT"))}

    def gain(old: str, position: int, new: str, *, masks: tuple[int, ...]) -> float:
        tokens = [MASK if place in masks else token for place, token in enumerate(encode(WILD))]
        row = direct(theirs, tokens)[0][position].log_softmax(dim=0)
        return float(row[INDEX[new]] - row[INDEX[old]])

    sites = [("Q", 2, "A"), ("K", 6, "R"), ("T", 7, "S")]
    for rule, masks in {
        "wild-type": [(), (), ()],
        "masked": [(2,), (6,), (7,)],
        "masked-together": [(2,), (6, 7), (6, 7)],
    }.items():
        one, two, three = (gain(*site, masks=behind) for site, behind in zip(sites, masks, strict=True))
        assert session.score(**inputs, rule=rule).scores == pytest.approx([one, two + three, 0.0], abs=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_an_embedding_is_the_mean_over_residues(name: str, tmp_path: Path) -> None:
    found = omlab.load_model(name, weights=saved(name, tmp_path), device="cpu").embed(sequence=Sequence(letters=WILD))
    wanted = direct(published(name), encode(WILD))[1][1:-1].mean(dim=0)
    assert found.vector == pytest.approx(wanted.numpy(), abs=1e-5)


def test_the_file_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"embed\.weight"):
        omlab.load_model("esmc-tiny", weights=saved("esm3-tiny", tmp_path)).embed(sequence=Sequence(letters=WILD))


@pytest.mark.parametrize("name", sorted(SIZES))
def test_the_networks_have_the_published_sizes(name: str) -> None:
    with torch.device("meta"):
        network = untrained(SIZES[name])
    assert sum(part.numel() for part in network.parameters()) == registry().get("model", name).data["parameters"]


def test_without_the_package_one_sentence_says_how_to_make_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "esm.models.esmc", None)
    with pytest.raises(
        MissingDependencyError, match=r"esm 3\.2 .* uv venv esmc, then uv pip install --python esmc omlab-esmc\."
    ):
        untrained(SIZES["esmc-tiny"])
