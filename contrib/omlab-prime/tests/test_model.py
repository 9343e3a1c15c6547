"""Loading, regressions that learn and come back, homology tuning, and files that are not what they should be."""

from __future__ import annotations

import warnings
from collections.abc import Sequence as Many
from pathlib import Path

import numpy as np
import pytest
import torch

import omlab
from omlab.errors import InputError, OmlabWarning, TrainingError, WeightsError, WeightsWarning
from omlab.roles import About, Sample
from omlab_payloads.scores import Scores
from omlab_prime.network import TINY, untrained_temperature
from omlab_prime.training import MaskedResidues, Pretraining, RegressionRecipe
from omlab_protein.homologues import Homologues
from omlab_protein.network import untrained
from omlab_protein.sequence import Sequence
from omlab_protein.variants import Variants
from omlab_testkit.held import Held
from omlab_train import fit

WILD = Sequence(letters="MQIFVKTLTGKTITLEVEPSDT", name="ubiquitin")
SETTINGS = {
    "number": "activity",
    "unit": "",
    "epochs": 12,
    "batch_size": 8,
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "patience": 0,
    "masked": 0.15,
    "correlation": 0.1,
}


def data(count: int = 32, *, letters: str = "ACDEFGHIKLMNPQRSTVWY") -> Held:
    """Sequences of unequal length whose number is the share of tryptophan: what pooling alone can find."""
    generator = np.random.default_rng(0)
    samples = []
    for number in range(count):
        length = int(generator.integers(6, 14))
        word = "".join(generator.choice(list(letters), length))
        word = "".join("W" if place < number % 6 else letter for place, letter in enumerate(word))
        target = Scores(values={"activity": 40 + 30 * word.count("W") / length})
        samples.append(Sample(id=f"s{number}", inputs={"sequence": Sequence(letters=word)}, target=target))
    return Held(samples=samples, says=About(inputs={"sequence": "sequence"}, target="scores"))


def test_every_single_mutant_is_scored_where_none_is_given() -> None:
    session = omlab.load_model("prime-tiny")
    table = session.score(sequence=WILD)
    assert len(table.mutants) == 19 * len(WILD.letters)
    some = session.score(sequence=WILD, mutants=Variants(mutants=("Q2A", "WT"), measured=(1.0, 2.0)))
    assert some.scores[0] == pytest.approx(table.scores[table.mutants.index("Q2A")], abs=1e-6)
    assert some.scores[1] == 0
    assert some.measured == (1.0, 2.0)
    masked = session.score(sequence=WILD, mutants=Variants(mutants=("Q2A",)), rule="masked")
    assert masked.scores[0] != some.scores[0]


def test_a_wrong_letter_fails_with_what_is_there() -> None:
    session = omlab.load_model("prime-tiny")
    with pytest.raises(InputError, match="says that residue 2 is K, but it is Q"):
        session.score(sequence=WILD, mutants=Variants(mutants=("K2A",)))


def saved(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save(state, path)
    return path


def test_the_hub_form_loads_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    state = {key.replace("esm.", "pro_prime.", 1): value for key, value in untrained(TINY, seed=3).state_dict().items()}
    state["sequence_pooling.query.weight"] = torch.zeros(2)
    with pytest.warns(WeightsWarning, match="sequence_pooling.query.weight"):
        session = omlab.load_model("prime-tiny", weights=saved(tmp_path / "hub.pt", state))
    assert session.score(sequence=WILD).scores.std() > 0


def test_a_regression_of_2023_loads_and_names_its_temperature(tmp_path: Path) -> None:
    network = untrained_temperature(TINY, seed=3)
    state = {key.replace("esm.", "model.", 1): value for key, value in network.state_dict().items()}
    state = {key: value for key, value in state.items() if key not in ("center", "spread")}
    path = saved(tmp_path / "prime_tm.pt", state)
    found = omlab.load_model("prime-temperature-tiny", weights=path).predict(sequence=WILD)
    assert list(found.values) == ["melting temperature"]
    assert found.units == {"melting temperature": "°C"}
    with pytest.raises(WeightsError, match="no head for residues"):
        omlab.load_model("prime-tiny", weights=path).score(sequence=WILD)
    plain = saved(tmp_path / "prime.pt", dict(untrained(TINY).state_dict()))
    with pytest.raises(WeightsError, match="no regression"):
        omlab.load_model("prime-temperature-tiny", weights=plain).predict(sequence=WILD)


def trainable(name: str = "prime-tiny"):  # type: ignore[no-untyped-def]  # what the session holds
    return omlab.load_model(name).model


def test_a_regression_learns_from_sequences_of_unequal_length(tmp_path: Path) -> None:
    model = trainable().retarget("regression", data().about("train"), settings=SETTINGS, seed=0)
    recipe = RegressionRecipe(model, data(), settings=SETTINGS, seed=0)
    assert len(recipe.rows) == 32  # upstream reads 20
    history = fit(recipe, folder=tmp_path, device="cpu", seed=0)
    assert history[-1]["rmse"] < 0.5 * history[0]["rmse"]
    inputs: Many[dict[str, Sequence]] = [{"sequence": Sequence(letters=word)} for word in ("WWWWAAAA", "ACDEFGHI")]
    high, low = (one.values["activity"] for one in model.predict(inputs))
    assert 40 < low + 5 < high < 75
    alone = [next(iter(model.predict([one]))).values["activity"] for one in inputs]
    assert [high, low] == pytest.approx(alone, abs=1e-4)
    variants = Variants(mutants=("A1W", "WT"))
    (table,) = model.score([{"sequence": inputs[1]["sequence"], "mutants": variants}])
    assert table.scores[1] == pytest.approx(low, abs=1e-4)
    assert table.scores[0] > low
    family = Homologues(rows=[inputs[1]["sequence"].letters])
    with pytest.warns(OmlabWarning, match="tells the activity of whole sequences: homologues are left out"):
        (same,) = model.score([{"sequence": inputs[1]["sequence"], "mutants": variants, "homologues": family}])
    assert np.array_equal(same.scores, table.scores)


def test_masked_residues_are_learnt(tmp_path: Path) -> None:
    samples = [Sample(id=f"s{n}", inputs={"sequence": WILD}) for n in range(8)]
    held = Held(samples=samples, says=About(inputs={"sequence": "sequence"}))
    recipe = MaskedResidues(trainable(), held, settings={**SETTINGS, "epochs": 30}, seed=0)
    history = fit(recipe, folder=tmp_path, device="cpu", seed=0)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


def pretraining(**changed: float) -> Pretraining:
    settings = {**SETTINGS, **changed}
    model = trainable().retarget("temperature", data().about("train"), settings=settings, seed=0)
    return model.recipe("temperature", data(), settings=settings, seed=0)


def test_pretraining_learns_residues_and_temperatures_at_once(tmp_path: Path) -> None:
    settings = {**SETTINGS, "epochs": 25}
    model = trainable().retarget("temperature", data().about("train"), settings=settings, seed=0)
    recipe = model.recipe("temperature", data(), settings=settings, seed=0)
    history = fit(recipe, folder=tmp_path, device="cpu", seed=0)
    assert history[-1]["residues"] < 0.9 * history[0]["residues"]
    assert history[-1]["rmse"] < 0.6 * history[0]["rmse"]
    inputs = [{"sequence": Sequence(letters=word)} for word in ("WWWWAAAA", "ACDEFGHI")]
    high, low = model.predict(inputs)
    assert high.units == {"activity": "°C"}
    assert high.values["activity"] > low.values["activity"] + 5 > 40
    (table,) = model.score([{"sequence": WILD, "mutants": Variants(mutants=("Q2W", "Q2C", "WT"))}])
    assert table.scores[0] > table.scores[1]  # of residues, not of temperatures: W is common here
    assert table.scores[2] == 0


def test_the_correlation_term_is_one_minus_the_agreement_times_its_weight() -> None:
    batch = pretraining().batches(0)
    with_term, figures = pretraining(correlation=0.5).loss(batch)
    without, _ = pretraining(correlation=0.0).loss(batch)
    assert (with_term - without).item() == pytest.approx(0.5 * (1 - figures["agreement"]), abs=1e-5)
    assert -1 <= figures["agreement"] <= 1
    pair, figures = pretraining(batch_size=2).loss(pretraining(batch_size=2).batches(0))
    assert figures["agreement"] == 0  # two points always correlate
    assert torch.isfinite(pair)


def test_a_number_that_is_not_there_is_named() -> None:
    model = trainable().retarget("regression", data().about("train"), settings={**SETTINGS, "number": "tm"}, seed=0)
    with pytest.raises(TrainingError, match="no number 'tm', but activity"):
        RegressionRecipe(model, data(), settings=SETTINGS, seed=0)


def test_no_warning_without_a_pooled_head(tmp_path: Path) -> None:
    path = saved(tmp_path / "plain.pt", dict(untrained(TINY).state_dict()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        omlab.load_model("prime-tiny", weights=path).score(sequence=WILD)
