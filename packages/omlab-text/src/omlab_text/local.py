"""A backend on this machine: a causal language model of transformers with its tokenizer and chat format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import copy, deepcopy
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from omlab.errors import InputError, OmlabError, SettingsError
from omlab_text.budget import fitted
from omlab_text.chat import Chat, End, Made, Turn
from omlab_text.chat_format import ChatFormat, Encoded
from omlab_text.chat_model import Answer
from omlab_text.drawing import Stop, processors
from omlab_text.form import Forms
from omlab_text.sampling import Sampling
from omlab_text.tokens import TransformersTokenizer

Cache = Literal["dynamic", "static", "none"]
_HALF = "\ufffd"
"""What a character is decoded to of which not all bytes are there yet."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """The tokens of an answer, and apart the one that ended it, where one did."""

    ids: list[int]
    closer: int | None
    end: End
    logprobs: list[float]


class LocalBackend:
    """Answers by transformers' `generate` (`omlab_text.chat_model.Backend`).

    Args:
        network: A causal language model of transformers, on its device. Its generation config is put aside: what holds
            are the options of each call, and the tokens that end an answer.
        tokenizer: Its tokenizer.
        format: Its chat format.
        name: As answers call the model.
        rows: How many answers are written at once. Of a larger batch those of like length go together.
        context: Tokens that the model has room for; None: what its configuration says.
        cache: Of keys and values: `static` is of one size, for compiled decoding; `none` computes all again each time.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: TransformersTokenizer,
        format: ChatFormat,
        *,
        name: str,
        rows: int = 8,
        context: int | None = None,
        cache: Cache = "dynamic",
    ) -> None:
        self.network, self.tokenizer, self.format = network.eval(), tokenizer, format
        self.name, self.rows, self.cache = name, rows, cache
        self.context = context or _context(network.config)
        self.stops = format.stops | _ends(network, tokenizer)
        self.forms = Forms(tokenizer.given, words=network.config.vocab_size, stops=self.stops)
        network.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]

    def copied(self, *, name: str) -> LocalBackend:
        """The same under another name, with a network of its own."""
        other = copy(self)
        other.network, other.name = deepcopy(self.network), name
        return other

    def prepare(self, chat: Chat, sampling: Sampling) -> Encoded:
        """The prompt, in as many tokens as the model has room for. Raises `InputError`."""
        if sampling.has_form:
            self.forms.check(sampling)
        return fitted(chat, self.format, budget=self._budget(sampling), whole=sampling.has_form)

    def answer(self, prepared: Sequence[Encoded], sampling: Sampling) -> Iterator[Answer | OmlabError]:
        """As in `Backend`."""
        for prompt, written in zip(prepared, self.write(prepared, sampling), strict=True):
            yield self.worded(prompt, written, sampling)

    def write(self, prepared: Sequence[Encoded], sampling: Sampling) -> list[Written]:
        """The tokens of an answer to each, in their order; the shortest prompts go first, so that little is padded."""
        order = sorted(range(len(prepared)), key=lambda place: len(prepared[place].ids))
        found: dict[int, Written] = {}
        for first in range(0, len(order), self.rows):
            places = order[first : first + self.rows]
            found |= zip(places, self._written([prepared[place] for place in places], sampling), strict=True)
        return [found[place] for place in range(len(prepared))]

    def stream(self, prepared: Encoded, sampling: Sampling) -> Iterator[str | Answer]:
        """As in `Backend`. The answer is written in a thread of its own, which ends with the iterator."""
        news: SimpleQueue[int | Written | BaseException] = SimpleQueue()
        stop = self._stop([prepared], sampling)

        def write() -> None:
            try:
                news.put(self._written([prepared], sampling, stop=stop, streamer=_Tokens(news))[0])
            except BaseException as error:  # told by whoever reads
                news.put(error)

        thread = Thread(target=write, name="omlab-text-write", daemon=True)
        thread.start()
        try:
            yield from self._pieces(prepared, news, sampling)
        finally:
            stop.is_cancelled = True
            thread.join()

    def _pieces(self, prepared: Encoded, news: SimpleQueue[Any], sampling: Sampling) -> Iterator[str | Answer]:
        shown, ids = "", list[int]()
        while isinstance(item := news.get(), int):
            ids.append(item)
            text = self._certain(self._text(prepared, ids), sampling)
            if text.startswith(shown) and text != shown:
                yield text[len(shown) :]
                shown = text
        if isinstance(item, BaseException):
            raise item
        answer = self.worded(prepared, item, sampling)
        if isinstance(answer, OmlabError):
            raise answer
        if answer.turn.text.startswith(shown) and answer.turn.text != shown:
            yield answer.turn.text[len(shown) :]
        yield answer

    def _certain(self, text: str, sampling: Sampling) -> str:
        """What of an unfinished text stands: not half a character, nor what may be the beginning of a stop text."""
        text = text.partition(_HALF)[0]
        for stop in sampling.stop:
            if stop in text:
                text = text[: text.index(stop)]
            held = next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
            text = text[: len(text) - held]
        return text.rstrip()

    def _budget(self, sampling: Sampling) -> int:
        if self.context is None:
            return sampling.budget or 1 << 30
        room = self.context - sampling.max_tokens
        if room < 1:
            raise SettingsError(
                f"max_tokens={sampling.max_tokens} leaves no room for a question: '{self.name}' has {self.context} "
                "tokens for both."
            )
        return min(sampling.budget or room, room)

    def _written(
        self,
        batch: Sequence[Encoded],
        sampling: Sampling,
        *,
        stop: Stop | None = None,
        streamer: BaseStreamer | None = None,
    ) -> list[Written]:
        """What the model writes after each prompt."""
        stop = stop or self._stop(batch, sampling)
        start = max(len(prompt.ids) for prompt in batch)
        form = self.forms.processor(sampling, start=start) if sampling.has_form else None
        chain, kept = processors([prompt.ids for prompt in batch], sampling, form=form)
        with torch.inference_mode():
            output = self.network.generate(
                **self.asked_with(batch),
                generation_config=self._config(sampling),
                logits_processor=chain,
                stopping_criteria=StoppingCriteriaList([stop]),
                streamer=streamer,
            )
        logprobs = kept.rows(output) if kept is not None else [[]] * len(batch)
        rows = output[:, start:].tolist()
        return [self._cut(row, found, sampling) for row, found in zip(rows, logprobs, strict=True)]

    def _cut(self, ids: list[int], logprobs: list[float], sampling: Sampling) -> Written:
        """A row up to the token that ended it."""
        length = next((place for place, id in enumerate(ids) if id in self.stops), None)
        closer = None if length is None else ids[length]
        text = self.tokenizer.text(ids[:length])
        ended = length is not None or any(stop in text for stop in sampling.stop)
        end: End = "stop" if ended else "length"
        return Written(ids=ids[:length], closer=closer, end=end, logprobs=logprobs[:length])

    def worded(self, prompt: Encoded, written: Written, sampling: Sampling) -> Answer | OmlabError:
        """The answer that tokens are; an error where they should follow a form, and do not."""
        if sampling.has_form and written.end == "length":
            return InputError(
                f"The answer does not follow its form within max_tokens={sampling.max_tokens}: give it more."
            )
        text = self._text(prompt, written.ids)
        for stop in sampling.stop:
            text = text.split(stop, maxsplit=1)[0]
        pieces = [(self.tokenizer.text([id]), found) for id, found in zip(written.ids, written.logprobs, strict=False)]
        made = Made(
            model=self.name,
            end=written.end,
            tokens_in=len(prompt.ids),
            tokens_out=len(written.ids),
            logprobs=tuple(pieces),
        )
        return Answer(turn=Turn(role="assistant", text=text.strip()), made=made)

    def _text(self, prompt: Encoded, ids: list[int]) -> str:
        begun = prompt.ids[len(prompt.ids) - prompt.begun :]
        return self.format.said(self.tokenizer.text([*begun, *ids]))

    def _stop(self, batch: Sequence[Encoded], sampling: Sampling) -> Stop:
        return Stop(sampling.stop, start=max(len(prompt.ids) for prompt in batch), text=self.tokenizer.text)

    def _config(self, sampling: Sampling) -> GenerationConfig:
        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=sampling.max_tokens,
            do_sample=False,  # drawn by a processor
            eos_token_id=sorted(self.stops) or None,
            pad_token_id=self._pad,
            use_cache=self.cache != "none",
            cache_implementation="static" if self.cache == "static" else None,
        )

    def asked_with(self, batch: Sequence[Encoded]) -> dict[str, Tensor]:
        """What `generate` is given of the prompts: (rows, longest) of tokens, padded in front, and of what counts.

        A model that reads more than text adds to it.
        """
        prompts = [prompt.ids for prompt in batch]
        longest, device = max(map(len, prompts)), self.network.device
        ids = [[self._pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(mask, device=device)}

    @property
    def _pad(self) -> int:
        given = self.tokenizer.given.pad_token_id
        return int(given) if given is not None else min(self.stops, default=0)


class _Tokens(BaseStreamer):
    """Hands on each token as it is drawn; the first that comes is the prompt."""

    def __init__(self, news: SimpleQueue[Any]) -> None:
        self.news, self.is_prompt = news, True

    def put(self, value: Tensor) -> None:
        """The next token of the only row."""
        if not self.is_prompt:
            self.news.put(int(value.reshape(-1)[0]))
        self.is_prompt = False

    def end(self) -> None:
        """The answer itself says that it has ended."""


def _context(config: Any) -> int | None:
    """Tokens that a model has room for, as its configuration says under one of several names."""
    for name in ("max_position_embeddings", "n_positions", "seq_length"):
        found = getattr(config, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return None


def _ends(network: Any, tokenizer: TransformersTokenizer) -> frozenset[int]:
    """Tokens that end a text, as the generation config, the configuration and the tokenizer say."""
    found: set[int] = set()
    for given in (network.generation_config.eos_token_id, network.config.eos_token_id, tokenizer.given.eos_token_id):
        with suppress(TypeError):  # None
            found |= {int(given)} if isinstance(given, int) else {int(each) for each in given}
    return frozenset(found)
