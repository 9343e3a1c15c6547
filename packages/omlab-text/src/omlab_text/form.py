"""Answers of a given form: JSON Schema, pattern or grammar, kept token by token by xgrammar."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from omlab.errors import MissingDependencyError, SettingsError
from omlab_text.sampling import Sampling

_CLOSERS = ('"', "}", "]", ",", ":")
"""What ends what is open in JSON, the likeliest to do so first."""
_LAST = 2
"""With half of its tokens left an answer is brought to an end, so that it does not break off."""


class Forms:
    """The forms of one model's answers, each compiled once.

    Args:
        tokenizer: Of transformers.
        words: Of the network's vocabulary, which may be larger than the tokenizer's.
        stops: Tokens that end an answer.
    """

    def __init__(self, tokenizer: Any, *, words: int, stops: Collection[int]) -> None:
        self.tokenizer, self.words, self.stops = tokenizer, words, sorted(stops)
        self._compiler: Any = None
        self._compiled: dict[tuple[str, str, str], Any] = {}
        self._turn = Lock()

    def check(self, sampling: Sampling) -> None:
        """Raise `SettingsError` where the form is none, `MissingDependencyError` where xgrammar is not installed."""
        self._of(sampling)

    def processor(self, sampling: Sampling, *, start: int) -> LogitsProcessor:
        """What keeps the answers of a batch, which begin at token `start`, to the form."""
        closers = [self.tokenizer.convert_tokens_to_ids(closer) for closer in _CLOSERS]
        known = [id for id in closers if isinstance(id, int) and id != self.tokenizer.unk_token_id]
        return _Keep(self._of(sampling), ends=[*self.stops, *known], start=start, most=sampling.max_tokens)

    def _of(self, sampling: Sampling) -> Any:
        key = (sampling.schema, sampling.regex, sampling.grammar)
        with self._turn:  # cases are prepared by several threads
            if key not in self._compiled:
                self._compiled[key] = self._compile(sampling)
            return self._compiled[key]

    def _compile(self, sampling: Sampling) -> Any:
        xgrammar = _xgrammar()
        if not self.stops:
            raise SettingsError("The model has no token that ends an answer: its answers cannot be held to a form.")
        if self._compiler is None:
            info = xgrammar.TokenizerInfo.from_huggingface(
                self.tokenizer, vocab_size=self.words, stop_token_ids=self.stops
            )
            self._compiler = xgrammar.GrammarCompiler(info)
        try:
            if sampling.schema:
                # space between tokens would let a model write space for ever
                return self._compiler.compile_json_schema(sampling.schema, any_whitespace=False)
            if sampling.regex:
                return self._compiler.compile_regex(sampling.regex)
            return self._compiler.compile_grammar(sampling.grammar)
        except (RuntimeError, ValueError) as error:
            name = "schema" if sampling.schema else "regex" if sampling.regex else "grammar"
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise SettingsError(f"The {name} cannot be used: {reason}") from None


class _Keep(LogitsProcessor):
    """Masks what the form does not allow next; in its second half only what ends the answer, where that is allowed.

    Each row is followed by a matcher of its own.
    """

    def __init__(self, compiled: Any, *, ends: list[int], start: int, most: int) -> None:
        self.compiled, self.ends, self.start, self.most = compiled, ends, start, most
        self.matchers: list[Any] = []
        self.mask: Any = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(rows, words) -> the same, -inf for what is not allowed."""
        xgrammar = _xgrammar()
        if not self.matchers:
            self.matchers = [xgrammar.GrammarMatcher(self.compiled) for _ in input_ids]
            self.mask = xgrammar.allocate_token_bitmask(len(input_ids), scores.shape[-1])
        else:
            for matcher, id in zip(self.matchers, input_ids[:, -1].tolist(), strict=True):
                if not matcher.is_terminated():
                    matcher.accept_token(id)
        for row, matcher in enumerate(self.matchers):
            if not matcher.is_terminated():
                matcher.fill_next_token_bitmask(self.mask, row)
        xgrammar.apply_token_bitmask_inplace(scores, self.mask.to(scores.device))
        return self._ending(scores) if self._left(input_ids) * _LAST <= self.most else scores

    def _left(self, input_ids: Tensor) -> int:
        return self.most - (input_ids.shape[1] - self.start)

    def _ending(self, scores: Tensor) -> Tensor:
        """Only the first of the closers that is allowed, in rows where one is."""
        for row in range(len(scores)):
            allowed = [id for id in self.ends if torch.isfinite(scores[row, id])]
            if allowed:
                value = scores[row, allowed[0]].clone()
                scores[row] = -torch.inf
                scores[row, allowed[0]] = value
        return scores


def _xgrammar() -> Any:
    try:
        return import_module("xgrammar")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "Answers of a given form need the Python package 'xgrammar': install omlab-text[grammar]."
        ) from None
