"""Where verdicts come from: a judge whose replies are stored, or replies that were recorded before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from omlab.errors import InputError, OmlabError
from omlab.json_lines import read_json_lines
from omlab_evaluators.rubric.prompts import Verdict, again, messages_of, verdict_of
from omlab_text.judging.asking import SILENCES, UnansweredError, ask_all
from omlab_text.judging.judges import Judge, JudgeRefusesError
from omlab_text.judging.marked import Messages, prompt_digest
from omlab_text.judging.store import ReplyStore, key_in
from omlab_text.turns import Turn


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a reply is to: which judge was told what, about which criterion (from 1) of whose answer."""

    case: str
    criterion: int
    judge: str
    prompt: str


class Replies(Protocol):
    """Gives replies to what a judge is told. `judge` is its name."""

    judge: str

    def to(self, questions: Mapping[Key, Messages], *, what: str) -> Mapping[Key, str]:
        """The replies that there are. Raises `OmlabError` where the judge cannot be had."""
        ...


class Asked:
    """The replies of a judge that is asked; each is stored at once.

    Args:
        judge: Who is asked.
        store: The file of replies, which is made at the first question.
    """

    def __init__(self, judge: Judge, store: Path) -> None:
        self.judge, self._asked, self._path = judge.name, judge, store
        self._silent = 0
        self._refused: OmlabError | None = None

    @cached_property
    def _store(self) -> ReplyStore[Key]:
        return ReplyStore(self._path, Key)

    def to(self, questions: Mapping[Key, Messages], *, what: str) -> Mapping[Key, str]:
        """A reply to each. Raises `OmlabError` where there is not one to each; those that came are stored."""
        if self._refused is not None:
            raise self._refused
        try:
            replies = ask_all(questions, judge=self._asked, store=self._store, what=what)
        except JudgeRefusesError as error:
            self._refused = error
            raise
        except UnansweredError as error:
            self._silent = 0 if error.answered else self._silent + error.missing
            if self._silent >= SILENCES:
                self._refused = error
            raise
        self._silent = 0
        return replies


class Recorded:
    """Replies recorded before: JSON lines with `case`, `criterion` (from 1) and `reply`, such as a store of replies.

    A line with a `prompt` (digest) is a reply to that alone. Raises `InputError` that names the line.
    """

    def __init__(self, path: Path, *, judge: str = "") -> None:
        self._path, self.judge = path, judge
        self._replies: dict[tuple[str, int, str], str] = {}
        files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
        for file in files:
            for number, row in read_json_lines(file):
                key = key_in({"judge": "", "prompt": ""} | row, Key, where=f"{file}, line {number}")
                if judge and key.judge != judge:
                    continue
                if self.judge and key.judge != self.judge:
                    raise InputError(f"{path} holds replies of several judges: choose one with judge_model.")
                self.judge = key.judge
                self._replies[key.case, key.criterion, key.prompt] = row["reply"]
        if not self._replies:
            raise InputError(f"{path} holds no recorded replies{f' of {judge!r}' if judge else ''}.")

    def to(self, questions: Mapping[Key, Messages], *, what: str) -> Mapping[Key, str]:
        """The replies to these very prompts, else those of which no prompt is known."""
        replies = self._replies
        found = {
            key: replies.get((key.case, key.criterion, key.prompt), replies.get((key.case, key.criterion, "")))
            for key in questions
        }
        return {key: reply for key, reply in found.items() if reply is not None}


def verdicts(
    criteria: Sequence[str], *, case: str, asked: Sequence[Turn], answer: str, replies: Replies, attempts: int
) -> list[Verdict | None]:
    """A verdict on each criterion; None where no reply could be read, however often it was asked for.

    Raises `OmlabError` where a criterion has no reply at all.
    """
    found: list[Verdict | None] = [None] * len(criteria)
    waiting = {n: messages_of(asked, answer=answer, criterion=text) for n, text in enumerate(criteria)}
    for attempt in range(attempts):
        keys = {
            n: Key(case=case, criterion=n + 1, judge=replies.judge, prompt=prompt_digest(messages))
            for n, messages in waiting.items()
        }
        got = replies.to({keys[n]: messages for n, messages in waiting.items()}, what=case)
        for n, key in keys.items():
            reply = got.get(key)
            if reply is None and not attempt:
                raise InputError(f"There is no recorded reply on criterion {n + 1} of this answer to '{case}'.")
            found[n] = None if reply is None else verdict_of(reply)
            if reply is None or found[n] is not None:
                del waiting[n]
            else:
                waiting[n] = again(waiting[n], reply)
        if not waiting:
            break
    return found
