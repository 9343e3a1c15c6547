"""DPO and KTO: the tokens that trl is given, and that it learns from them."""

import pytest
import torch
from learning import data_of, rankings, settings_of, tiny_model, write_lines

from omlab.errors import OmlabNote, TrainingError
from omlab_text.recipes import by_trl
from omlab_text.recipes.by_trl import label_rows, pair_rows

pytest.importorskip("trl")
from transformers import TrainerCallback  # comes with trl

METHODS = ["dpo", pytest.param("kto", marks=pytest.mark.slow)]


def preferences(folder, count=12, **more):
    return data_of("preferences", write_lines(folder / "p.jsonl", rankings(count, **more)), val=0.25)


def test_pairs_are_in_the_tokens_that_the_model_is_asked_with(tmp_path):
    model = tiny_model()
    data = preferences(tmp_path, 4)
    rows = pair_rows(data.cases("train"), model.backend.format)
    assert len(rows) == 3 * 2  # of three answers two are tied
    chat = data.cases("train")[0].load().inputs["chat"]
    assert rows[0]["prompt_ids"] == model.backend.format.encode(chat, prompt=True).ids
    said = [model.backend.tokenizer.given.decode(rows[1][f"{name}_ids"]).strip() for name in ("chosen", "rejected")]
    assert said == ["rest<|im_end|>", "rum<|im_end|>"]


def test_labels_say_which_half_an_answer_is_in(tmp_path):
    rows = label_rows(preferences(tmp_path, 4).cases("train"), tiny_model().backend.format)
    assert [row["label"] for row in rows[:3]] == [True, False, False]
    assert rows[0]["KL_completion_ids"] == rows[4]["completion_ids"]


@pytest.mark.parametrize("method", METHODS)
def test_the_better_answer_becomes_likelier(tmp_path, method):
    model = tiny_model()
    ids = torch.tensor([[5, 6, 7]])
    before = model.module(ids).logits
    settings = settings_of(method, learning_rate=1e-3, epochs=2, batch_size=4)
    loop = getattr(by_trl, method)(model, preferences(tmp_path), settings=settings, seed=0)
    history = loop.run(device="cpu", folder=tmp_path / "work", seed=0)
    assert [row["epoch"] for row in history] == [1, 2]
    assert history[-1]["val_loss"] < history[0]["val_loss"]
    assert history[-1]["val_chosen_reward"] > 0 > history[-1]["val_rejected_reward"]
    assert not torch.allclose(model.module(ids).logits, before)
    assert "forward" not in vars(model.module)
    again = loop.run(device="cpu", folder=tmp_path / "work", seed=0)  # all epochs are done
    assert [row["epoch"] for row in again] == [1, 2]


def test_a_training_that_was_stopped_says_after_which_epoch_it_goes_on(tmp_path, monkeypatch):
    settings = settings_of("dpo", epochs=2, batch_size=4)
    work = tmp_path / "work"

    def stop(*rest, **more):
        raise KeyboardInterrupt

    loop = by_trl.dpo(tiny_model(), preferences(tmp_path), settings=settings, seed=0)
    monkeypatch.setattr(TrainerCallback, "on_save", stop)
    with pytest.raises(KeyboardInterrupt):
        loop.run(device="cpu", folder=work, seed=0)
    monkeypatch.undo()
    again = by_trl.dpo(tiny_model(), preferences(tmp_path), settings=settings, seed=0)
    with pytest.warns(OmlabNote, match="ended after epoch 1 of 2"):
        again.run(device="cpu", folder=work, seed=0)


def test_ties_alone_are_nothing_to_learn_from(tmp_path):
    with pytest.raises(TrainingError, match="nothing to learn from ties"):
        by_trl.dpo(tiny_model(), preferences(tmp_path, ranks=(1, 1, 1)), settings=settings_of("dpo"), seed=0)
