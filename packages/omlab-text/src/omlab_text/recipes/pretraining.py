"""Texts of the pre-training that a policy goes on to predict while it learns from rewards, so that it forgets less.

Source: Ouyang et al., Training language models to follow instructions with human feedback, 2022, equation 2 (PPO-ptx).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from omlab.datasets import open_dataset
from omlab.digests import digest_of
from omlab.errors import SettingsError, TrainingError, UsageError
from omlab_text.kept import kept_format, kept_tokenizer
from omlab_text.recipes.corpus import pieces_of
from omlab_text.recipes.sft import SortedBatches
from omlab_text.recipes.token_store import store_of
from omlab_text.training.supervised import IGNORED, TargetNetwork

if TYPE_CHECKING:
    from omlab_text.local_model import LocalModel


class Pretraining:
    """The loss on batches of texts, each of which is a function of its number.

    Args:
        model: The policy.
        path: A file, or a folder of such, as the data set `chats` reads; of its rows those of the split `train`.
        rows: Pieces of texts in a batch.
        longest: Tokens of a piece at most; a longer text goes on in further ones, as by the recipe `corpus`.
        seed: Of their order.

    Attributes:
        digest: Of the files' content.

    Raises:
        SettingsError: There is no such file or folder.
        InputError: A line cannot be read, or is no chat of the model's format.
        TrainingError: No text has two tokens.
    """

    def __init__(self, model: LocalModel, path: str, *, rows: int, longest: int, seed: int) -> None:
        try:
            data = open_dataset(f"chats:{path}", root=None, settings={"val": 0}).dataset
        except UsageError:
            raise SettingsError(f"pretraining is '{path}', which does not exist: name a file or folder.") from None
        data.prepare()
        longest = min(longest, model.backend.context or longest)
        self.digest = data.digest("train")
        written_by = [kept_tokenizer(model.backend.tokenizer), kept_format(model.backend.format)]
        read = partial(pieces_of, model=model, longest=longest)
        store = store_of(data.cases("train"), read, key=["pretraining", self.digest, digest_of([*written_by, longest])])
        if not len(store):
            raise TrainingError(f"No text of {path} has two tokens: there is nothing to predict.")
        self.network = TargetNetwork(model.module)
        self.batches = SortedBatches(store=store, size=min(rows, len(store)), seed=seed)

    def loss(self, number: int) -> Tensor:
        """Minus the mean log-probability of a token of the batch of that number, with a gradient."""
        device = next(self.network.parameters()).device
        batch = {name: part.to(device) for name, part in self.batches(number).items()}
        logp: Tensor = self.network(batch["ids"], batch["documents"], batch["targets"])
        return -logp.sum() / (batch["targets"] != IGNORED).sum()


def pretraining_of(model: LocalModel, settings: Mapping[str, Any], *, seed: int) -> Pretraining | None:
    """The texts that settings name; None: none. Raises `SettingsError` for texts without a weight, or the reverse."""
    path, weight = settings["pretraining"], settings["pretraining_weight"]
    if path and not weight:
        raise SettingsError(f"pretraining is '{path}', but pretraining_weight is 0: give it a weight, such as 0.5.")
    if weight and not path:
        raise SettingsError(f"pretraining_weight is {weight:g}, but pretraining names no texts: name a file or folder.")
    if not path:
        return None
    return Pretraining(model, path, rows=settings["minibatch"], longest=settings["longest"], seed=seed)
