"""The reward model: what it reads, how it learns from rankings, and what is said of how well."""

import pytest
import torch
from learning import data_of, rankings, settings_of, tiny_model, write_lines

import omlab
from omlab.errors import InputError, OmlabError, OmlabWarning, TrainingError
from omlab_text.chat import Made, Turn, ask
from omlab_text.chat_model import Answer
from omlab_text.options import Options
from omlab_text.recipes.reward import NO_FAULT, Reader, RewardRecipe
from omlab_text.reward_model import rewarding, rewards_of
from omlab_text.training.ranking import ranking_loss
from omlab_text.training.ranking_figures import Ranked, ranking_figures
from omlab_train import fit

FEVER = ask("Fever?")
QUICK = {"learning_rate": 3e-3, "epochs": 4, "batch_size": 8}


def scoring(model=None, **settings):
    """A model with a head, untrained."""
    return rewarding(model or tiny_model(), settings=settings_of("reward", **settings), seed=0)


def test_figures_of_a_ranking():
    found = ranking_figures(
        [
            Ranked(scores=[2.0, 1.0, 3.0], ranks=[1, 2, 2], lengths=[1, 2, 3], area="lab"),  # right, wrong
            Ranked(scores=[0.5, 0.5], ranks=[2, 1], lengths=[4, 4], area="x-ray room"),  # neither
            Ranked(scores=[9.0, 1.0], ranks=[1, 1], lengths=[1, 9], area="lab"),  # tied
        ]
    )
    assert found["accuracy"] == pytest.approx(1.5 / 3)
    assert (found["accuracy_lab"], found["accuracy_x-ray_room"]) == (0.5, 0.5)
    sure = torch.tensor(1.0).sigmoid().item()  # both pairs of the first prompt are as sure, one of them is right
    assert found["calibration_error"] == pytest.approx((abs(2 * sure - 1) + 0) / 3)
    scores, lengths = torch.tensor([0.0, -1.0, 1.0, 0, 0, 4, -4]), torch.tensor([-1.0, 0, 1, 0, 0, -4, 4])
    expected = (scores @ lengths / (scores.norm() * lengths.norm())).item()
    assert found["length_correlation"] == pytest.approx(expected)


def test_nothing_is_said_of_ties_alone():
    assert ranking_figures([Ranked(scores=[1.0, 2.0], ranks=[1, 1], lengths=[1, 1])]) == {}


def test_margins_may_be_each_prompts_own():
    scores, ranks = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1, 2], [1, 2]])
    found = ranking_loss(scores, ranks, margin=torch.tensor([0.0, 0.5]))
    apart = [ranking_loss(scores[:1], ranks[:1], margin=margin) for margin in (0.0, 0.5)]
    assert found == pytest.approx(sum(apart) / 2)


def test_what_is_read_ends_with_the_question_about_the_answer():
    model = tiny_model()
    text = model.backend.tokenizer.given.decode
    plain = Reader(format=model.backend.format).read(FEVER, "rest")
    assert text(plain.ids).rstrip().endswith("rest<|im_end|>")
    asked = Reader(format=model.backend.format, question="Safe?").read(FEVER, "rest")
    assert text(asked.ids[: len(plain.ids)]) == text(plain.ids)
    assert text(asked.ids).rstrip().endswith("assistant")
    told = Reader(format=model.backend.format, question="Safe?", criticises=True).read(FEVER, "rest")
    ((begin, end),) = told.answers
    assert text(told.ids[begin:end]).strip() == f"{NO_FAULT}<|im_end|>"
    assert end == len(told.ids)


def test_of_what_is_too_long_the_beginning_goes():
    format = tiny_model().backend.format
    whole = Reader(format=format).read(FEVER, "rest")
    assert Reader(format=format, room=5).read(FEVER, "rest").ids == whole.ids[-5:]


@pytest.mark.parametrize("family", ["bloom", "llama"])
def test_a_reward_is_the_same_in_a_batch(family):
    model = scoring(tiny_model(family))
    read = [model.reader.read(FEVER, text) for text in ("rest", "rest and drink water", "a")]
    together = rewards_of(read, model.module)
    assert together == pytest.approx([rewards_of([one], model.module)[0] for one in read], abs=1e-5)


@pytest.mark.parametrize("way", ["none", "question", pytest.param("critique", marks=pytest.mark.slow)])
def test_it_learns_to_rank_and_says_how_well(tmp_path, way):
    data = data_of("preferences", write_lines(tmp_path / "p.jsonl", rankings()), val=0.25)
    how = (
        QUICK | {"self_evaluation": way} | ({"epochs": 30} if way == "critique" else {})
    )  # it must learn to write first
    model = scoring(**how)
    history = fit(
        RewardRecipe(model, data, settings=settings_of("reward", **how), seed=0),
        folder=tmp_path / "work",
        device="cpu",
        seed=0,
    )
    last = history[-1]
    assert last["val_loss"] < history[0]["val_loss"]
    assert last["val_accuracy"] > 0.9
    said = ("accuracy_lab", "accuracy_radiology", "calibration_error", "length_correlation")
    assert {f"val_{name}" for name in said} <= set(last)
    (found,) = model.score([model.prepare("score", {"chat": FEVER, "options": Options(texts=("rum", "rest"))})])
    assert found.values["B"] > found.values["A"]


def revising(model, said):
    """Have a model revise answers so: `said` of a prompt is what is written, and why that ended. Gives the prompts."""
    asked = []

    def answer(prompts, sampling):
        for prompt in prompts:
            shown = model.backend.tokenizer.given.decode(prompt.ids)
            asked.append(shown)
            text, end = said(shown)
            yield Answer(turn=Turn(role="assistant", text=text), made=Made(model="tiny", end=end))

    model.backend.answer = answer
    return asked


REVISING = QUICK | {"self_evaluation": "revision"}


def test_revisions_by_the_model_are_candidates(tmp_path, monkeypatch):
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    data = data_of("preferences", write_lines(tmp_path / "p.jsonl", rankings(8)), val=0.25)
    model = scoring(**REVISING)
    asked = revising(model, lambda shown: ("drink tea", "stop") if "rest" in shown else ("drink", "length"))
    settings = settings_of("reward", **REVISING)
    with pytest.warns(OmlabWarning, match=r"Of \d+ answers \d+ have a revision"):
        recipe = RewardRecipe(model, data, settings=settings, seed=0)
    cases = len(data.cases("train"))
    assert len(asked) == 3 * cases
    assert settings["revise"] in asked[0]
    batch = recipe.batches(0)
    assert len(batch["revised"]) == len(batch["places"])  # what breaks off is left out
    assert batch["revised"][:, 1].tolist() == batch["places"][:, 0].tolist()
    fit(recipe, folder=tmp_path / "work", device="cpu", seed=0)
    drunk, rested, ran = model.rewards([(FEVER, text) for text in ("drink tea", "rest", "run")])
    assert drunk > rested > ran
    assert model.config()["reward"] == {"question": "", "criticises": False}  # read as with none

    again = scoring(**REVISING)
    asked_again = revising(again, lambda shown: ("not asked", "stop"))
    with pytest.warns(OmlabWarning):
        resumed = RewardRecipe(again, data, settings=settings, seed=0)
    assert asked_again == []
    assert resumed.fingerprint == recipe.fingerprint


def test_a_revision_that_an_expert_has_ranked_is_where_the_expert_says(tmp_path, monkeypatch):
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    data = data_of("preferences", write_lines(tmp_path / "p.jsonl", rankings(4)), val=0)
    model = scoring(**REVISING)
    revising(model, lambda shown: ("run" if "rest" in shown else "rest", "stop"))
    with pytest.warns(OmlabWarning, match="Of 12 answers 0 have a revision"):
        recipe = RewardRecipe(model, data, settings=settings_of("reward", **REVISING), seed=0)
    assert recipe.batches(0)["revised"].shape == (0, 2)
    assert torch.isfinite(recipe.loss(recipe.batches(0))[0])


def test_ties_alone_are_nothing_to_learn_from(tmp_path):
    data = data_of("preferences", write_lines(tmp_path / "p.jsonl", rankings(4, ranks=(1, 1, 1))), val=0)
    with pytest.raises(TrainingError, match="nothing to learn from ties"):
        RewardRecipe(scoring(), data, settings=settings_of("reward"), seed=0)


def test_a_chat_without_an_answer_has_no_reward():
    with pytest.raises(InputError, match="does not end with an answer"):
        scoring().prepare("score", {"chat": FEVER})


@pytest.mark.parametrize("adapter", ["finetune", pytest.param("lora", marks=pytest.mark.slow)])
def test_the_folder_of_a_reward_model_scores(tmp_path, adapter):
    pytest.importorskip("omlab_adapters")
    data = write_lines(tmp_path / "p.jsonl", rankings(8))
    settings = {"epochs": 1, "data.val": 0}
    omlab.adapt(
        "causal-lm.untrained", f"preferences:{data}", recipe="reward", adapter=adapter, output=tmp_path / "rm",
        settings=settings, device="cpu",
    )  # fmt: skip
    session = omlab.load_model(tmp_path / "rm", device="cpu")
    rested = FEVER.then(Turn(role="assistant", text="rest"))
    once, again = (session.score(rested).values["reward"] for _ in range(2))
    assert once == again
    assert set(session.score(FEVER, options=Options(texts=("a", "b"))).values) == {"A", "B"}
    with pytest.raises(OmlabError, match="nothing to score"):
        session.score(FEVER)
