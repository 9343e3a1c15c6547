"""Judges behind one small interface, and what goes wrong with them.

A judge takes messages and gives a reply, or raises `NoReplyError` (this question has no reply now) or
`JudgeRefusesError` (no question will have one: wrong key, wrong name, wrong address).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from threading import Event
from typing import Any, Protocol

from omlab.errors import MissingDependencyError, OmlabError
from omlab_pulse_eval.prompts import Messages


class NoReplyError(OmlabError):
    """A question that the judge did not answer, for all patience."""


class JudgeRefusesError(OmlabError):
    """The judge will not answer any question as things stand."""


@dataclass(frozen=True)
class Reply:
    """The judge's text as it came; `more` is stored beside it (tokens, seconds)."""

    text: str
    more: Mapping[str, Any] = field(default_factory=dict)


class Judge(Protocol):
    """Answers questions. `name` is part of the key of its replies; `concurrency` how many it takes at a time."""

    name: str
    concurrency: int

    def ask(self, messages: Messages, *, stop: Event) -> Reply:
        """The reply; gives up early (`NoReplyError`) once `stop` is set."""
        ...

    def close(self) -> None:
        """Let go of connections and the like."""
        ...


class LocalJudge:
    """A chat model on this machine, through transformers (an extra of this package). Greedy, hence repeatable."""

    concurrency = 1

    def __init__(self, model: str, *, device: str = "auto", max_tokens: int = 512) -> None:
        self.name = f"transformers/{model}"
        self.max_tokens = max_tokens
        try:
            torch, transformers = import_module("torch"), import_module("transformers")
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"A local judge needs the Python package '{error.name}': install omlab-pulse-eval[transformers]."
            ) from None
        self._torch = torch
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(model)
            network = transformers.AutoModelForCausalLM.from_pretrained(model, use_safetensors=True)
            self._model: Any = network.to(chosen).eval()
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise JudgeRefusesError(f"The model '{model}' cannot be loaded as a judge: {reason}") from None
        if not getattr(self._tokenizer, "chat_template", None):
            raise JudgeRefusesError(f"The model '{model}' has no chat template: it cannot be asked as a judge.")

    def ask(self, messages: Messages, *, stop: Event) -> Reply:
        """Generate a reply of at most `max_tokens` tokens."""
        inputs = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self._model.device)
        with self._torch.inference_mode():
            output = self._model.generate(**inputs, max_new_tokens=self.max_tokens, do_sample=False)
        fresh = output[0, inputs["input_ids"].shape[1] :]
        text = self._tokenizer.decode(fresh, skip_special_tokens=True)
        return Reply(text, {"tokens_in": int(inputs["input_ids"].shape[1]), "tokens_out": len(fresh)})

    def close(self) -> None:
        """Nothing to let go of."""
