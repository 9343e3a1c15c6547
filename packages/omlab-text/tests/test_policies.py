"""PPO, GRPO and RLOO on a tiny model that is rewarded for vowels."""

from types import SimpleNamespace

import pytest
import torch
from learning import data_of, settings_of, tiny_model, write_lines

from omlab.errors import OmlabNote, SettingsError, TrainingError, UsageError
from omlab_payloads.scores import Scores
from omlab_text.recipes import ppo as policies
from omlab_text.recipes.pretraining import Pretraining
from omlab_text.recipes.reference import Reference
from omlab_text.recipes.rollouts import open_reward
from omlab_text.training.ppo import Ppo, Rollout, group_estimates

QUICK = {"rollouts": 6, "prompts": 4, "answers": 8, "max_tokens": 5, "minibatch": 32, "learning_rate": 5e-3}


class Vowels:
    """In place of a reward model's session."""

    identity = "vowels"
    card = SimpleNamespace(does={"score": SimpleNamespace(batch=64)})

    def apply(self, verb, batch):
        said = [inputs["chat"].turns[-1].text for inputs in batch]
        return [Scores(values={"reward": sum(letter in "aeiou" for letter in text)}) for text in said]


@pytest.fixture
def prompts(tmp_path, monkeypatch):
    monkeypatch.setattr(policies, "open_reward", lambda folder, device: Vowels())
    rows = [{"question": f"Case {number}?"} for number in range(4)]
    return data_of("prompts", write_lines(tmp_path / "prompts.jsonl", rows), val=0)


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    write_lines(folder / "more.jsonl", [{"text": "Rest a day."}])
    rows = [{"text": f"{number}: " + "tsk, hmm, pst, brr, " * 4} for number in range(3)]  # no vowels
    return write_lines(folder / "notes.jsonl", rows)


def learnt(prompts, folder, method="ppo", *, model=None, **settings):
    """The history, and the weights at the end."""
    model = model or tiny_model()
    loop = getattr(policies, method)(model, prompts, settings=settings_of(method, **QUICK | settings), seed=0)
    return loop.run(device="cpu", folder=folder, seed=0), model.module.state_dict()


@pytest.mark.parametrize("method", ["ppo", "grpo", pytest.param("rloo", marks=pytest.mark.slow)])
def test_the_reward_rises(prompts, tmp_path, method):
    history, _ = learnt(prompts, tmp_path / "work", method, rollouts=10)
    first, last = (sum(row["reward"] for row in rows) / 2 for rows in (history[:2], history[-2:]))
    assert last > first + 0.2
    assert history[0]["kl"] == pytest.approx(0, abs=1e-3)
    assert 0 < history[-1]["kl"] < 6
    assert {"entropy", "length", "kl_weight", "clipped"} <= set(history[-1])


@pytest.mark.parametrize("method", ["ppo", "grpo", "rloo"])
def test_several_processes_are_refused(prompts, tmp_path, monkeypatch, method):
    """Each would train a policy of its own, and write it where the others do."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=f"{method} trains in one process, but 2 were started"):
        learnt(prompts, tmp_path / "work", method)
    assert not (tmp_path / "work").exists()


IMPROVED = {
    "penalty": "loss", "over": "tokens", "clip_higher": 0.28, "entropy_weight": 0.01, "entropy_steps": 3,
    "stop_kl": 0.5, "normalise_scores": True, "reference_decay": 0.9, "pretraining_weight": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("settings", [pytest.param({}, marks=pytest.mark.slow), IMPROVED], ids=["plain", "improved"])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(prompts, texts, tmp_path, settings):
    settings = settings | ({"pretraining": str(texts)} if settings else {})
    whole, weights = learnt(prompts, tmp_path / "whole", rollouts=3, **settings)
    loop = policies.ppo(
        tiny_model(), prompts, settings=settings_of("ppo", **QUICK | {"rollouts": 3} | settings), seed=0
    )
    save, loop._save = loop._save, lambda history, folder: stop_after(save, history, folder)
    with pytest.raises(KeyboardInterrupt):
        loop.run(device="cpu", folder=tmp_path / "broken", seed=0)
    with pytest.warns(OmlabNote, match="ended after rollout 2 of 3"):
        again, resumed = learnt(prompts, tmp_path / "broken", rollouts=3, **settings)
    assert again == whole
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)


def stop_after(save, history, folder):
    save(history, folder)
    if len(history) == 2:
        raise KeyboardInterrupt


def test_a_policy_goes_on_to_predict_the_texts_of_its_pre_training(prompts, texts, tmp_path):
    mixed, plain = tiny_model(), tiny_model()
    history, _ = learnt(
        prompts, tmp_path / "mixed", model=mixed, pretraining=str(texts), pretraining_weight=10.0, longest=16
    )
    assert history[-1]["pretraining_loss"] < history[0]["pretraining_loss"] - 1
    without, _ = learnt(prompts, tmp_path / "plain", model=plain)
    assert "pretraining_loss" not in without[-1]
    before, of_mixed, of_plain = (loss_on(texts, model) for model in (tiny_model(), mixed, plain))
    assert of_mixed < before - 1
    assert of_plain > before - 0.1


def loss_on(texts, model):
    """The mean loss of a token of the texts."""
    of_texts = Pretraining(model, str(texts), rows=8, longest=16, seed=0)
    with torch.no_grad():
        return of_texts.loss(0).item()


def test_the_files_of_a_folder_are_texts_too_of_which_long_ones_go_on(texts):
    one, several = (Pretraining(tiny_model(), str(path), rows=99, longest=16, seed=0) for path in (texts, texts.parent))
    assert several.batches.size > one.batches.size > 3  # more pieces than texts
    assert several.digest != one.digest


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pretraining": "TEXTS"}, "but pretraining_weight is 0: give it a weight"),
        ({"pretraining_weight": 0.5}, "pretraining_weight is 0.5, but pretraining names no texts"),
        ({"pretraining": "TEXTS.gone", "pretraining_weight": 0.5}, "which does not exist"),
    ],
)
def test_texts_and_their_weight_are_given_together(prompts, texts, settings, said):
    settings = {name: str(texts) + value[5:] if name == "pretraining" else value for name, value in settings.items()}
    with pytest.raises(SettingsError, match=said):
        policies.ppo(tiny_model(), prompts, settings=settings_of("ppo", **settings), seed=0)


def test_a_policy_that_runs_away_is_stopped(prompts, tmp_path):
    with pytest.raises(TrainingError, match=r"nats from its reference at rollout 2, beyond kl_limit=0\.001: lower"):
        learnt(prompts, tmp_path / "work", kl_limit=0.001)


def test_a_policy_that_misses_a_red_flag_is_stopped(prompts, tmp_path, monkeypatch):
    flags = write_lines(tmp_path / "flags.jsonl", [{"prompt": "I took forty pills.", "must": "emergency"}])
    faults = iter([[], ["it says 'tea'."]])  # before the training, and after the second rollout
    monkeypatch.setattr(policies.RedFlags, "faults", lambda self, backend: next(faults))
    with pytest.raises(TrainingError, match=r"After rollout 2 1 red flags are missed, where 0 may be: it says 'tea'\."):
        learnt(prompts, tmp_path / "work", red_flags=str(flags), red_flag_rollouts=2)


def test_a_group_has_more_than_one_answer(prompts):
    with pytest.raises(SettingsError, match="answers is 1"):
        policies.grpo(tiny_model(), prompts, settings=settings_of("grpo", answers=1), seed=0)


def test_advantages_of_groups_are_by_hand():
    logp = torch.tensor([[-1.0, -2.0], [-1.0, 0.0], [-1.0, -1.0], [-3.0, -1.0]])
    mask = torch.tensor([[True, True], [True, False], [True, True], [True, True]])
    scores = torch.tensor([1.0, 0.0, 2.0, 4.0])
    rollout = Rollout(logp=logp, reference=logp - 0.5, values=torch.zeros(4, 2), scores=scores, mask=mask)
    found = group_estimates(rollout, Ppo(), by="rloo", answers=2, kl_weight=0.2)
    worth = scores - 0.2 * 0.5 * mask.sum(1)
    expected = torch.stack([worth[0] - worth[1], worth[1] - worth[0], worth[2] - worth[3], worth[3] - worth[2]])
    assert torch.allclose(found.advantages, expected[:, None] * mask)
    assert found.kl_weight == 0
    grouped = group_estimates(rollout, Ppo(penalty="loss"), by="grpo", answers=2, kl_weight=0.2)
    assert torch.allclose(grouped.advantages[:, 0], torch.tensor([1.0, -1.0, -1.0, 1.0]) / 2**0.5, atol=1e-3)
    assert grouped.kl_weight == 0.2


def test_the_reference_of_a_policy_with_additions_is_the_network_without_them():
    peft = pytest.importorskip("peft")
    network = tiny_model().module
    ids = torch.tensor([[5, 6, 7]])
    before = network(ids).logits
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules=["q_proj"]), network)
    reference = Reference(network)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(parameter)
    assert not torch.allclose(network(ids).logits, before, atol=1e-3)
    with reference.in_place() as there:
        assert torch.equal(there(ids).logits, before)
    assert any(parameter.requires_grad for name, parameter in network.named_parameters() if "lora_" in name)
    with pytest.raises(SettingsError, match="weights of its own"):
        Reference(network, decay=0.9)


def test_a_reference_may_follow():
    network = torch.nn.Linear(1, 1)
    reference = Reference(network, decay=0.75)
    began = network.weight.item()
    torch.nn.init.constant_(network.weight, began + 1)
    reference.follow()
    assert reference.network.weight.item() == pytest.approx(began + 0.25)


@pytest.mark.parametrize(
    ("folder", "said"), [("", "reward is not set"), ("nowhere", "which is no folder"), (".", "cannot be loaded")]
)
def test_what_is_no_reward_model_is_told(tmp_path, monkeypatch, folder, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=said):
        open_reward(folder, device="cpu")
