"""The recipes `dpo` and `kto`: a policy learns from ranked answers alone, by trl's trainers.

What is learnt on are our own tokens, those that the model is asked with later; trl would write chats by the tokenizer's
template. Source: Rafailov et al., Direct Preference Optimization, 2023; Ethayarajh et al., KTO, 2024.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from omlab.errors import MissingDependencyError, TrainingError
from omlab.roles import Case, Dataset
from omlab_text.chat import Chat, Turn
from omlab_text.chat_format import ChatFormat
from omlab_text.recipes.language import check_precision
from omlab_text.recipes.rates import advised_rate
from omlab_text.recipes.reward import ranking_of
from omlab_text.training.ranking import ranking_pairs
from omlab_train.checkpoint import say_going_on

if TYPE_CHECKING:
    from omlab_text.local_model import LocalModel

Method = Literal["dpo", "kto"]
_ALL, _FEW = 1e-6, 1e-5
"""Learning rates where all weights learn, and where few do."""
_FIGURES = {
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
    "loss": "loss",
    "kl": "kl",
}
"""Of what trl logs, by what it is called here."""


class TrlLoop:
    """A training by trl (`omlab_train.Loop`).

    Args:
        model: The policy, which is trained in place.
        data: Preferences.
        settings: Of the recipe, complete.
        seed: trl takes that of `run`.
        method: `dpo` learns from every pair of answers that are not tied, `kto` from each answer by itself: whether it
            is in the better half of its ranking.

    Raises:
        MissingDependencyError: trl is not installed.
        TrainingError: Nothing is to be learnt.
    """

    def __init__(
        self, model: LocalModel, data: Dataset, *, settings: Mapping[str, Any], seed: int, method: Method
    ) -> None:
        _require_trl(method)
        check_precision(model.module)
        rows = pair_rows if method == "dpo" else label_rows
        self.method, self.backend, self.settings = method, model.backend, settings
        self.rows = rows(data.cases("train"), self.backend.format)
        self.held_out = rows(data.cases("val"), self.backend.format) if "val" in data.splits() else []
        if not self.rows:
            raise TrainingError("No prompt has two answers of different rank: there is nothing to learn from ties.")

    def run(self, *, device: str, folder: Path, seed: int) -> list[dict[str, float]]:
        """Train; goes on from the last epoch that an interrupted run finished. The history has a row an epoch."""
        from datasets import Dataset as Table  # type: ignore[import-untyped]
        from transformers import TrainerState
        from transformers.trainer import TRAINER_STATE_NAME
        from transformers.trainer_utils import get_last_checkpoint

        network = self.backend.network.to(device)
        reference = copy.deepcopy(network).requires_grad_(False)
        with _quiet(), _forward_kept(network):
            trainer = _trainer(self.method)(
                model=network,
                ref_model=reference,
                args=self._arguments(folder, device=device, seed=seed),
                train_dataset=Table.from_list(self.rows),
                eval_dataset=Table.from_list(self.held_out) if self.held_out else None,
                processing_class=copy.deepcopy(self.backend.tokenizer.given),
            )
            last = get_last_checkpoint(str(folder)) if folder.is_dir() else None  # type: ignore[no-untyped-call]
            if last is not None:
                state = TrainerState.load_from_json(str(Path(last) / TRAINER_STATE_NAME))
                say_going_on(round(state.epoch or 0), of=self.settings["epochs"])
            trainer.train(resume_from_checkpoint=last)
        network.eval()
        return history_of(trainer.state.log_history)

    def _arguments(self, folder: Path, *, device: str, seed: int) -> Any:
        from trl import DPOConfig, KTOConfig  # type: ignore[attr-defined]

        settings, size = self.settings, min(self.settings["batch_size"], len(self.rows))
        rate = settings["learning_rate"] or advised_rate(self.backend.network, all=_ALL, few=_FEW)
        return (DPOConfig if self.method == "dpo" else KTOConfig)(
            output_dir=str(folder),
            beta=settings["beta"],
            learning_rate=rate,
            num_train_epochs=settings["epochs"],
            per_device_train_batch_size=size,
            per_device_eval_batch_size=size,
            max_length=self.backend.context,
            lr_scheduler_type="cosine",
            warmup_steps=settings["warmup"],
            max_grad_norm=1.0,
            logging_strategy="epoch",
            eval_strategy="epoch" if self.held_out else "no",
            save_strategy="epoch",
            save_total_limit=1,
            bf16=device.startswith("cuda"),
            gradient_checkpointing=False,
            use_cpu=device == "cpu",
            report_to="none",
            disable_tqdm=True,
            seed=seed % 2**32,
            dataloader_pin_memory=device.startswith("cuda"),
        )


dpo = partial(TrlLoop, method="dpo")
kto = partial(TrlLoop, method="kto")


def pair_rows(cases: Sequence[Case], format: ChatFormat) -> list[dict[str, list[int]]]:
    """The tokens of each prompt with each pair of its answers that are not tied, the better one first."""
    rows = []
    for case in cases:
        prompt, answers, ranks = _tokens(case, format)
        for better, worse in ranking_pairs(torch.tensor(ranks)).tolist():
            rows.append({"prompt_ids": prompt, "chosen_ids": answers[better], "rejected_ids": answers[worse]})
    return rows


def label_rows(cases: Sequence[Case], format: ChatFormat) -> list[dict[str, Any]]:
    """The tokens of each prompt with each of its answers, and whether that is in the better half; ties are left out."""
    rows: list[dict[str, Any]] = []
    for case in cases:
        prompt, answers, ranks = _tokens(case, format)
        middle = (min(ranks) + max(ranks)) / 2
        if min(ranks) < max(ranks):
            rows += [
                {"prompt_ids": prompt, "completion_ids": answer, "label": rank <= middle}
                for answer, rank in zip(answers, ranks, strict=True)
            ]
    for place, row in enumerate(rows):  # KL is estimated on answers to other prompts
        row["KL_completion_ids"] = rows[(place + len(rows) // 2) % len(rows)]["completion_ids"]
    return rows


def history_of(log: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """A row an epoch of what trl logged; figures of validation have `val_` before their names."""
    found = []
    for epoch, entries in groupby(log, key=lambda entry: round(entry["epoch"])):
        row: dict[str, float] = {"epoch": epoch}
        for entry in entries:
            for name, value in entry.items():
                theirs = name.removeprefix("eval_")
                if theirs in _FIGURES:
                    row[f"{'val_' if name.startswith('eval_') else ''}{_FIGURES[theirs]}"] = float(value)
                elif name == "learning_rate":
                    row[name] = float(value)
        found.append(row)
    return found


def _tokens(case: Case, format: ChatFormat) -> tuple[list[int], list[list[int]], tuple[int, ...]]:
    """The tokens of a prompt, those of each answer with what ends it, and the answers' ranks."""
    sample = case.load()
    chat, ranking = sample.inputs["chat"], ranking_of(sample.target)
    assert isinstance(chat, Chat)
    prompt: list[int] = []
    answers = []
    for text in ranking.texts:
        encoded = format.encode(chat.then(Turn(role="assistant", text=text)), prompt=False)
        begin, end = encoded.answers[-1]
        prompt = encoded.ids[:begin]
        answers.append(encoded.ids[begin:end])
    return prompt, answers, ranking.ranks


def _trainer(method: Method) -> Any:
    """The trainer for rows of tokens: trl's own would write texts by a template and tokenise them itself."""
    from trl import DPOTrainer, KTOTrainer  # type: ignore[attr-defined]

    if method == "dpo":

        class Pairs(DPOTrainer):
            def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
                return dataset

        return Pairs

    class Labels(KTOTrainer):
        def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
            return dataset

    return Labels


def _require_trl(method: str) -> None:
    try:
        import trl  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            f"The recipe '{method}' needs the Python package 'trl': install omlab-text[trl]."
        ) from None


@contextmanager
def _forward_kept(network: Any) -> Iterator[None]:
    """Leave a network with the forward pass that it had, in whose place trl puts one of its own."""
    own = vars(network).get("forward")
    try:
        yield
    finally:
        vars(network).pop("forward", None)
        if own is not None:
            network.forward = own


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what trl and transformers print, and warn of among themselves: what there is to say is in the history."""
    from transformers.utils import logging as told

    logging: Any = told  # some of its functions are untyped
    level, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        logging.set_verbosity(level)
        if had_bars:
            logging.enable_progress_bar()
