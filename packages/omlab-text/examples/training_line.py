"""The training line on a toy: chats, ranked answers, a reward model, PPO and DPO, by the commands that a user types.

    python training_line.py line/                 # about three minutes on two cores
    python training_line.py line/ --small         # every command, but too little to learn much

A patient names a sign, and the model says two things to do. It begins with random weights and learns to speak from
chats that say anything; experts rank answers by how much in them helps; what learns from that says what helps.
Needs omlab-text[trl], omlab-adapters, omlab-evaluators and matplotlib.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from omlab.cli.app import build
from omlab_text.tiny import tiny_tokenizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIGNS = ("fever", "cough", "cold", "ache", "rash", "flu", "itch", "cramp")
HELPS = ("rest", "tea", "soup", "sleep", "water")
HARMS = ("rum", "run", "fast", "smoke", "dig")
BROKEN = 0.25
"""Share of the ranked answers that break off."""
KL_TARGET = 6.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is learnt."""

    chats: int
    rankings: int
    epochs: int
    rollouts: int


WHOLE = Size(chats=512, rankings=256, epochs=12, rollouts=30)
SMALL = Size(chats=32, rankings=16, epochs=1, rollouts=2)


def main() -> None:
    """Run the line in a folder, draw its curves, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where everything goes")
    parser.add_argument("--small", action="store_true", help="too little to learn much")
    given = parser.parse_args()
    for name, value in train(given.folder, SMALL if given.small else WHOLE).items():
        print(f"{name:24} {value:.3f}")
    draw(given.folder, given.folder / "curves.png")


def train(folder: Path, size: Size) -> dict[str, float]:
    """All commands, each of which goes on from what the one before made; what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "model")
    write_data(folder, size)
    sft, reward, ppo, dpo = (str(folder / name) for name in ("sft", "reward", "ppo", "dpo"))
    model = ["causal-lm", "--weights", str(folder / "model"), "-s", "model.format=chatml"]
    chats, ranked, prompts = (f"{kind}:{folder / kind}.jsonl" for kind in ("chats", "preferences", "prompts"))
    epochs = f"epochs={size.epochs}"

    omlab("adapt", *model, "--data", chats, "--recipe", "sft", "-o", sft, *settings("learning_rate=3e-3", epochs))
    held_out = settings("data.val=0.2", f"epochs={min(5, size.epochs)}", "learning_rate=1e-3")
    omlab("adapt", sft, "--data", ranked, "--recipe", "reward", "-o", reward, *held_out)
    held_near = settings("data.val=0", f"reward={reward}", f"kl_target={KL_TARGET}", "kl_horizon=1000", "max_tokens=16")
    quick = settings("learning_rate=3e-4", "prompts=8", "answers=8", f"rollouts={size.rollouts}")
    omlab("adapt", sft, "--data", prompts, "--recipe", "ppo", "-o", ppo, *held_near, *quick)
    omlab(
        "adapt",
        sft,
        "--data",
        ranked,
        "--recipe",
        "dpo",
        "-o",
        dpo,
        *settings("data.val=0.2", "learning_rate=3e-4", "epochs=2"),
    )

    for policy in (sft, dpo):
        pairs = ["--data", f"choices:{folder / 'pairs.jsonl'}", *settings("data.shown=texts", "by=token")]
        omlab("evaluate", policy, *pairs, "-o", f"{policy}-report")
    return figures(folder)


def figures(folder: Path) -> dict[str, float]:
    """What the histories and scores show."""
    sft, reward, ppo = (history(folder / name) for name in ("sft", "reward", "ppo"))
    return {
        "sft: loss at first": sft[0]["val_loss"],
        "sft: loss at last": sft[-1]["val_loss"],
        "reward: pair accuracy": reward[-1]["val_accuracy"],
        "ppo: reward at first": ppo[0]["reward"],
        "ppo: reward at last": ppo[-1]["reward"],
        "ppo: KL at last": ppo[-1]["kl"],
        "sft: pairs right": pairs_right(folder / "sft-report"),
        "dpo: pairs right": pairs_right(folder / "dpo-report"),
    }


def omlab(*words: str) -> None:
    """Run a command, as `omlab WORDS` in a shell does."""
    print("$ omlab", *words, flush=True)
    build().main(list(words), standalone_mode=False)


def settings(*pairs: str) -> list[str]:
    """Settings as they are typed."""
    return [word for pair in pairs for word in ("-s", pair)]


def history(folder: Path) -> list[dict[str, float]]:
    """How the training of an adapted model went."""
    found: list[dict[str, float]] = json.loads((folder / "history.json").read_text())
    return found


def pairs_right(folder: Path) -> float:
    """The share of the pairs whose better answer is the likelier, token by token."""
    metrics = json.loads((folder / "report.json").read_text())["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "accuracy"))


def write_model(folder: Path) -> None:
    """A folder as models are published in: a tiny Llama with random weights, and a tokenizer."""
    tokenizer = tiny_tokenizer("llama")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)


def write_data(folder: Path, size: Size) -> None:
    """Chats, rankings of four answers, prompts, and pairs that no training sees."""
    draw = random.Random(0)  # noqa: S311 - a toy
    write_lines(folder / "chats.jsonl", (chat_row(draw) for _ in range(size.chats)))
    write_lines(folder / "preferences.jsonl", (ranking_row(draw) for _ in range(size.rankings)))
    write_lines(folder / "prompts.jsonl", ({"question": question(sign)} for sign in SIGNS))
    write_lines(folder / "pairs.jsonl", (pair_row(draw) for _ in range(min(64, size.chats))))


def question(sign: str) -> str:
    """What a patient asks."""
    return f"I have a {sign}."


def answer(draw: random.Random) -> str:
    """Two things to do, whatever they are."""
    return " and ".join(draw.sample(HELPS + HARMS, 2))


def any_answer(draw: random.Random) -> str:
    """An answer, or one that breaks off: what experts do not see they cannot rank, and a policy would find it."""
    text = answer(draw)
    return text[: draw.randrange(len(text))].strip() if draw.random() < BROKEN else text


def worth(text: str) -> int:
    """How many of the two things in an answer help; less than nothing where it is broken."""
    things = text.split(" and ")
    is_whole = len(things) == 2 and all(thing in HELPS + HARMS for thing in things)
    return sum(thing in HELPS for thing in things) if is_whole else -1


def chat_row(draw: random.Random) -> dict[str, Any]:
    """A chat of one answer."""
    said = (("user", question(draw.choice(SIGNS))), ("assistant", answer(draw)))
    return {"messages": [{"role": role, "content": text} for role, text in said]}


def ranking_row(draw: random.Random) -> dict[str, Any]:
    """Four answers as experts would rank them, with ties, as `omlab label export` writes it."""
    texts = [any_answer(draw) for _ in range(4)]
    places = sorted({worth(text) for text in texts}, reverse=True)
    return {
        "prompt": [{"role": "user", "content": question(draw.choice(SIGNS))}],
        "answers": [{"id": f"a{n}", "text": text} for n, text in enumerate(texts)],
        "ranks": {f"a{n}": 1 + places.index(worth(text)) for n, text in enumerate(texts)},
    }


def pair_row(draw: random.Random) -> dict[str, Any]:
    """A question with a better and a worse answer, as `choices` has them."""
    texts: Sequence[str] = ()
    while len({worth(text) for text in texts}) < 2:
        texts = sorted((answer(draw), answer(draw)), key=worth, reverse=True)
    return {"question": question(draw.choice(SIGNS)), "options": list(texts), "answer": "A"}


def write_lines(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def draw(folder: Path, picture: Path) -> None:
    """A panel for each training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    (chats, rewards), (policy, pairs) = figure.subplots(2, 2)
    curves(chats, "sft: loss on chats", history(folder / "sft"), ("loss", "val_loss"))
    curves(rewards, "reward: share of pairs ranked right", history(folder / "reward"), ("accuracy", "val_accuracy"))
    curves(policy, "ppo: mean of a rollout's answers", history(folder / "ppo"), ("reward", "kl"))
    policy.axhline(KL_TARGET, color="C1", linestyle=":", label="target of KL")
    policy.set_xlabel("rollout")
    policy.set_ylim(top=1.5 * policy.get_ylim()[1])  # room for what the lines are called
    policy.legend(frameon=False, loc="upper left")
    names = ("sft", "dpo")
    bars = pairs.bar(names, [pairs_right(folder / f"{name}-report") for name in names], color=["C7", "C0"], width=0.5)
    pairs.bar_label(bars, fmt="%.2f")
    pairs.set_ylim(0, 1.1)
    pairs.set_title("held-out pairs: the better answer is likelier")
    figure.savefig(picture)


def curves(axes: Axes, title: str, rows: Sequence[dict[str, float]], names: Sequence[str]) -> None:
    """Figures of a history over its epochs."""
    for name in names:
        shown = [(row["epoch"], row[name]) for row in rows if name in row]
        words = name.replace("val_", "held out: ").replace("kl", "KL from the reference (nats)")
        axes.plot(*zip(*shown, strict=True), label=words)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


if __name__ == "__main__":
    main()
