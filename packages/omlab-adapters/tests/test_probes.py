"""Linear probe, neighbours and centroids on stored vectors: what they see, what they never see, and odd targets."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from omlab import About, OmlabError, Sample
from omlab.abilities import AnswersEmbeddings, FitsMany
from omlab.errors import OmlabWarning, SettingsError, TrainingError
from omlab.models import load_adapter
from omlab.roles import Adapted
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_payloads.scores import Scores
from omlab_testkit.stand_ins import StandInBase

NAMES = ("a", "b", "c")


@dataclass(frozen=True, eq=False)
class Place:
    """A vector that the encoder passes through."""

    kind: ClassVar[str] = "testkit-place"
    vector: Any


class Encoder:
    """Embeds places as they are, and counts how many it was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, batch: Sequence[Mapping[str, Place]], /) -> list[Embedding]:
        self.asked += len(batch)
        return [Embedding(vector=inputs["place"].vector) for inputs in batch]


def encoder_base() -> tuple[StandInBase, Encoder]:
    encoder = Encoder()
    does = {"embed": {"takes": {"place": "testkit-place"}, "gives": "embedding", "batch": 8}}
    return StandInBase(encoder, does=does), encoder


@dataclass(frozen=True, eq=False, kw_only=True)
class VectorCase:
    id: str
    vector: Any
    target: Any
    group: str | None = None
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def load(self) -> Sample:
        return Sample(id=self.id, inputs={"place": Place(self.vector)}, target=self.target, group=self.group)


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Splits of cases; one that is `forbidden` may not even be listed."""

    parts: Mapping[str, Sequence[VectorCase]]
    classes: Mapping[int, str] = field(default_factory=dict)
    forbidden: Sequence[str] = ()

    def splits(self) -> list[str]:
        return list(self.parts)

    def prepare(self) -> None:
        pass

    def about(self, split: str) -> About:
        return About(inputs={"place": "testkit-place"}, target="classes", classes=self.classes)

    def digest(self, split: str) -> str:
        return split

    def cases(self, split: str) -> list[VectorCase]:
        assert split not in self.forbidden, f"the split {split} was read"
        return list(self.parts[split])

    def verify(self) -> list[str]:
        return []


def one(name: str) -> Classes:
    return Classes(names=NAMES, probabilities=[float(name == other) for other in NAMES])


def several(row: Sequence[float]) -> Classes:
    return Classes(names=NAMES, probabilities=list(row), threshold=0.5)


def cases(vectors: Any, targets: Sequence[Any], *, prefix: str = "c", groups: Sequence[str] | None = None) -> list[Any]:
    return [
        VectorCase(id=f"{prefix}{n}", vector=np.asarray(v, np.float32), target=t, group=groups[n] if groups else None)
        for n, (v, t) in enumerate(zip(vectors, targets, strict=True))
    ]


def blobs(count: int, *, seed: int, width: int = 6, spread: float = 1.0) -> tuple[Any, list[str]]:
    """Vectors around one of three centres, and the name of each."""
    generator = np.random.default_rng(seed)
    names = [NAMES[n % 3] for n in range(count)]
    centres = 2 * np.eye(3, width)
    return centres[[n % 3 for n in range(count)]] + spread * generator.normal(size=(count, width)), names


ADAPTERS = ("linear-probe", "knn", "nearest-centroid")


def fit(data: Any, folder: Path, *, adapter: str = "linear-probe", seed: int = 0, **settings: Any) -> tuple[Any, Any]:
    """The adapted model and what it was adapted to."""
    _, made, _ = load_adapter(adapter, settings)
    base, _ = encoder_base()
    folder.mkdir(exist_ok=True)
    adapted = made.fit(base, data, recipe=None, settings={}, seed=seed, folder=folder)
    return made.restore(base, config=adapted.config, tensors=adapted.tensors), adapted


def ask(model: Any, vectors: Any) -> list[Any]:
    return list(model.predict_embedded([Embedding(vector=np.asarray(vector, np.float32)) for vector in vectors]))


def singles(count: int = 30, *, seed: int = 0, **more: Any) -> Vectors:
    vectors, names = blobs(count, seed=seed)
    return Vectors(parts={"train": cases(vectors, [one(name) for name in names]), **more}, forbidden=["test"])


def multi(count: int = 30, *, seed: int = 0) -> tuple[Vectors, Any, Any]:
    """Cases of which each class is right where one coordinate is large."""
    vectors = np.random.default_rng(seed).normal(size=(count, 6))
    rows = (vectors[:, :3] > 0.4).astype(float)
    return Vectors(parts={"train": cases(vectors, [several(row) for row in rows])}), vectors, rows


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_one_of_several_classes_is_learned(tmp_path: Path, adapter: str) -> None:
    model, adapted = fit(singles(), tmp_path, adapter=adapter)
    assert isinstance(model, AnswersEmbeddings)
    vectors, names = blobs(60, seed=1, spread=0.5)
    found = ask(model, vectors)
    assert np.mean([answer.predicted == (name,) for answer, name in zip(found, names, strict=True)]) > 0.85
    assert all(sum(answer.probabilities) == pytest.approx(1) for answer in found)
    assert adapted.does["predict"]["gives"] == "classes"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_each_class_by_itself_is_learned(tmp_path: Path, adapter: str) -> None:
    data, _, _ = multi()
    model, _ = fit(data, tmp_path, adapter=adapter)
    _, vectors, rows = multi(90, seed=1)
    found = ask(model, vectors)
    assert all(answer.names == NAMES and answer.threshold == 0.5 for answer in found)
    said = np.array([answer.probabilities for answer in found])
    for k in range(3):
        assert said[rows[:, k] == 1, k].mean() > said[rows[:, k] == 0, k].mean() + 0.2


def test_votes_are_shares_of_those_that_say_something(tmp_path: Path) -> None:
    targets = [several([1, 0, np.nan]), several([1, np.nan, np.nan]), several([0, 1, 1])]
    data = Vectors(parts={"train": cases(np.eye(3), targets)})
    model, _ = fit(data, tmp_path, adapter="knn", neighbours=2, temperature=1e6)
    (found,) = ask(model, [[1, 0.9, 0]])  # the first two vote alike
    assert found.probabilities == pytest.approx((1, 0, 1), abs=1e-5)  # of the last class the share in training


def test_centroids_of_both_sides(tmp_path: Path) -> None:
    targets = [several([1, 0, 1]), several([1, 0, 0]), several([0, 0, np.nan])]
    data = Vectors(parts={"train": cases(np.eye(3), targets)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, _ = fit(data, tmp_path, adapter="nearest-centroid", temperature=1.0)
    (found,) = ask(model, [[1, 0, 0]])
    near = 1 / (1 + np.exp(-1 / np.sqrt(2)))  # similarity 1/sqrt(2) to the mean of both, 0 to that of the third
    assert found.probabilities == pytest.approx((near, 0, 1 / (1 + np.exp(-1))), abs=1e-6)


def test_numbers_are_learned_by_ridge_regression(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 5))
    wanted = 50 + 3 * vectors[:, 0]
    targets = [Scores(values={"ef": value}, units={"ef": "%"}) for value in wanted]
    model, adapted = fit(Vectors(parts={"train": cases(vectors, targets)}), tmp_path, strength="0.01,1,100")
    found = ask(model, vectors[:5])
    assert [answer.values["ef"] for answer in found] == pytest.approx(wanted[:5].tolist(), abs=0.2)
    assert found[0].units == {"ef": "%"}
    assert adapted.does["predict"]["gives"] == "scores"
    assert adapted.history[-1]["strength"] == 100
    with pytest.raises(TrainingError, match="prediction sets are of classes"):
        fit(Vectors(parts={"train": cases(vectors, targets)}), tmp_path, coverage=0.9)
    with pytest.raises(TrainingError, match="use linear-probe"):
        fit(Vectors(parts={"train": cases(vectors, targets)}), tmp_path, adapter="knn")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_the_test_split_holds_changes_nothing(tmp_path: Path, adapter: str) -> None:
    """A planted leak: test cases that lie far off, and whose classes would turn every choice around."""
    settings = {"strength": "0.01,1,100", "calibrate": "yes", "coverage": 0.8} if adapter == "linear-probe" else {}
    vectors, names = blobs(60, seed=2)
    turned = [one(NAMES[(NAMES.index(name) + 1) % 3]) for name in names]
    leak = cases(1000 * vectors + 500, turned, prefix="t")
    data = singles(45)
    kept = []
    for n, test in enumerate(([], leak)):
        seen = replace(data, parts={**data.parts, "test": test}, forbidden=[])
        _, adapted = fit(seen, tmp_path / str(n), adapter=adapter, **settings)
        kept.append((adapted.tensors.read_bytes(), adapted.config, adapted.history))
    assert kept[0] == kept[1]
    fit(singles(45, test=leak), tmp_path / "forbidden", adapter=adapter, **settings)  # it is not even listed


def test_the_standardisation_of_a_trial_is_that_of_what_it_learns(tmp_path: Path) -> None:
    """A held-out case far away must not change how the others are scaled while it is judged."""
    import torch

    from omlab_adapters.probes.designs import Design

    vectors = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    far = vectors.clone()
    far[9] *= 1e6
    a, b = (Design.of(part[:9], scaling="standard") for part in (vectors, far))
    assert torch.equal(a.mean, b.mean)
    assert torch.equal(a.scale, b.scale)


def test_many_episodes_are_fitted_as_each_alone_and_cases_are_embedded_once(tmp_path: Path) -> None:
    base, encoder = encoder_base()
    pool = singles(60)
    everything = pool.parts["train"]
    episodes = [
        Vectors(parts={"train": everything[first : first + size]}) for first, size in ((0, 9), (3, 30), (10, 18))
    ]
    for adapter in ADAPTERS:
        settings = {"strength": "0.1,10", "calibrate": "yes"} if adapter == "linear-probe" else {}
        _, made, _ = load_adapter(adapter, settings)
        assert isinstance(made, FitsMany)
        found = made.fit_many(
            base, episodes, recipe=None, settings={}, seeds=[0, 1, 2], features=tmp_path / "features",
            folders=[tmp_path / adapter / str(n) for n in range(3)],
        )  # fmt: skip
        for n, adapted in enumerate(found):
            assert isinstance(adapted, Adapted)
            folder = tmp_path / f"{adapter}-alone-{n}"
            folder.mkdir()
            alone = made.fit(encoder_base()[0], episodes[n], recipe=None, settings={}, seed=n, folder=folder)
            assert adapted.tensors.read_bytes() == alone.tensors.read_bytes()
            assert adapted.config == alone.config
    assert encoder.asked == 33  # the union of the episodes, for all three adapters


def test_an_episode_that_teaches_nothing_harms_no_other(tmp_path: Path) -> None:
    base, _ = encoder_base()
    vectors, names = blobs(12, seed=0)
    good = Vectors(parts={"train": cases(vectors, [one(name) for name in names])})
    same = Vectors(parts={"train": good.parts["train"][::3]})
    _, made, _ = load_adapter("linear-probe", {})
    found = made.fit_many(  # type: ignore[attr-defined]
        base, [same, good, Vectors(parts={"train": []})], recipe=None, settings={}, seeds=[0, 0, 0],
        features=tmp_path / "f", folders=[tmp_path / str(n) for n in range(3)],
    )  # fmt: skip
    assert str(found[0]) == "All training cases are 'a': a probe needs two classes."
    assert isinstance(found[1], Adapted)
    assert str(found[2]) == "There is no training case."


def test_of_several_strengths_the_best_on_held_out_cases_is_taken(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(40, 200))
    data = Vectors(parts={"train": cases(noise, [one(NAMES[n % 2]) for n in range(40)])})
    _, adapted = fit(data, tmp_path, strength="1e-6,1,1000")
    assert adapted.history[-1]["strength"] == 1e-6  # nothing can be learned of noise
    assert [row["strength"] for row in adapted.history[:-1]] == [1e-6, 1, 1000]
    losses = [row["held_out_nll"] for row in adapted.history[:-1]]
    assert losses == sorted(losses)


def test_a_calibrated_probe_is_less_sure_where_it_is_wrong(tmp_path: Path) -> None:
    vectors, names = blobs(60, seed=3, spread=2.0)
    data = Vectors(parts={"train": cases(vectors, [one(name) for name in names])})
    asked, right = blobs(300, seed=4, spread=2.0)
    scores = []
    for n, calibrate in enumerate(("no", "yes")):
        model, adapted = fit(data, tmp_path / str(n), calibrate=calibrate, strength=1000)
        found = ask(model, asked)
        scores.append(np.mean([np.log(a.probabilities[a.names.index(r)]) for a, r in zip(found, right, strict=True)]))
    assert adapted.history[-1]["temperature"] > 1
    assert scores[1] > scores[0]


@pytest.mark.parametrize("form", ["one", "several"])
def test_a_few_cases_that_are_all_told_rightly_make_nothing_certain(tmp_path: Path, form: str) -> None:
    vectors, names = blobs(30, seed=0, spread=0.1)
    rows = [one(name) if form == "one" else several([float(name == other) for other in NAMES]) for name in names]
    model, adapted = fit(Vectors(parts={"train": cases(vectors, rows)}), tmp_path, calibrate="yes", strength=100)
    found = ask(model, vectors)
    sure = [answer.probabilities[NAMES.index(name)] for answer, name in zip(found, names, strict=True)]
    assert min(sure) > 0.9
    assert max(sure) < 0.9999
    assert adapted.history[-1]["temperature"] > 0.05


def test_prediction_sets_stand_in_the_result_and_hold_what_they_promise(tmp_path: Path) -> None:
    held, sizes = [], []
    for seed in range(8):
        vectors, names = blobs(120, seed=seed, spread=1.5)
        data = Vectors(parts={"train": cases(vectors, [one(name) for name in names])})
        model, adapted = fit(data, tmp_path / str(seed), coverage=0.8, seed=seed)
        assert adapted.config["coverage"] == 0.8
        asked, right = blobs(200, seed=seed + 100, spread=1.5)
        for answer, name in zip(ask(model, asked), right, strict=True):
            assert answer.set_coverage == 0.8
            held.append(name in answer.prediction_set)
            sizes.append(len(answer.prediction_set))
    assert 0.76 < np.mean(held) < 0.9
    assert 1 < np.mean(sizes) < 3


def test_too_few_cases_for_sets_say_so_and_give_all_classes(tmp_path: Path) -> None:
    with pytest.warns(OmlabWarning, match="too few for prediction sets with the coverage 0.9"):
        model, _ = fit(singles(15), tmp_path, coverage=0.9)
    (found,) = ask(model, [np.zeros(6)])
    assert found.prediction_set == NAMES


def test_of_one_shot_a_class_nothing_can_be_chosen(tmp_path: Path) -> None:
    with pytest.warns(OmlabWarning, match="too few training cases of each class"):
        _, adapted = fit(singles(3), tmp_path, strength="0.01,1,100", calibrate="yes")
    assert adapted.history[-1] == {"epoch": 1, "strength": 1.0, "temperature": 1.0, "train_accuracy": 1.0}


def test_settings_are_chosen_by_the_split_val_where_that_is_asked_for(tmp_path: Path) -> None:
    vectors, names = blobs(60, seed=5)
    val = cases(vectors, [one(NAMES[(NAMES.index(name) + 1) % 3]) for name in names], prefix="v")
    _, adapted = fit(singles(30, val=val), tmp_path / "a", strength="0.0001,1", select="val")
    assert adapted.history[-1]["strength"] == 0.0001  # by a split that turns classes around, knowing nothing is best
    _, adapted = fit(singles(30, val=val), tmp_path / "b", strength="0.0001,1")
    assert adapted.history[-1]["strength"] == 1
    with pytest.raises(TrainingError, match="needs a split 'val', but there are train"):
        fit(singles(30), tmp_path / "c", strength="0.1,1", select="val")


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [
        ([one("a")] * 6, "All training cases are 'a'"),
        ([several([1, 0, np.nan])] * 6, "No class has both"),
        ([one("a"), several([1, 0, 0])] * 3, "the form 'one', that of 'c1' the form 'several'"),
        ([None] * 6, "Case 'c0' has no target"),
        ([Scores(values={"x": np.nan})] * 6, "No training case has a number"),
    ],
)
def test_targets_that_teach_nothing_are_one_sentence(tmp_path: Path, targets: list[Any], sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        fit(Vectors(parts={"train": cases(np.eye(6), targets)}), tmp_path)


def test_a_class_without_positives_is_named_and_never_right(tmp_path: Path) -> None:
    rows = [several([n % 2, 0, np.nan]) for n in range(8)]
    data = Vectors(parts={"train": cases(blobs(8, seed=0)[0], rows)})
    with pytest.warns(OmlabWarning, match="Nothing is learned of b, c: no training case is of it"):
        model, _ = fit(data, tmp_path)
    (found,) = ask(model, [np.ones(6)])
    assert found.probabilities[1:] == (0, 0)
    assert found.is_finite()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_embeddings_that_are_not_finite_name_their_case(tmp_path: Path, adapter: str) -> None:
    vectors, names = blobs(9, seed=0)
    vectors[4, 2] = np.nan
    data = Vectors(parts={"train": cases(vectors, [one(name) for name in names])})
    with pytest.raises(OmlabError, match=r"Case 'c4' has no embedding: .*NaN"):
        fit(data, tmp_path, adapter=adapter)


@pytest.mark.parametrize("strength", ["", "0", "-1,1", "much", "1,nan"])
def test_a_strength_is_a_number_above_zero(tmp_path: Path, strength: str) -> None:
    with pytest.raises(SettingsError, match="must be one or several numbers above 0"):
        fit(singles(), tmp_path, strength=strength)


def test_unit_scaling_is_that_of_the_published_baseline(tmp_path: Path) -> None:
    """MedFMC: features of length 1, a logistic regression of each class."""
    from sklearn.linear_model import LogisticRegression

    data, vectors, rows = multi(40)
    model, _ = fit(data, tmp_path, scaling="unit")
    said = np.array([answer.probabilities for answer in ask(model, vectors)])
    unit = vectors.astype(np.float32).astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for k in range(3):
        wanted = LogisticRegression(random_state=0, tol=1e-9, max_iter=5000).fit(unit, rows[:, k]).predict_proba(unit)
        assert said[:, k] == pytest.approx(wanted[:, 1], abs=1e-4)


def test_errors_among_embeddings_stay(tmp_path: Path) -> None:
    model, _ = fit(singles(), tmp_path)
    lost = TrainingError("lost")
    found = list(model.predict_embedded([lost, Embedding(vector=np.zeros(6))]))
    assert found[0] is lost
    assert isinstance(found[1], Classes)
