"""Have a judge asked what is not in the store yet; every reply is kept at once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING

from omlab import progress
from omlab.errors import OmlabError
from omlab_text.judging.judges import Judge, NoReplyError
from omlab_text.judging.marked import Messages
from omlab_text.judging.store import ReplyStore

if TYPE_CHECKING:
    from omlab_text.judging.store import K

SILENCES = 8
"""After so many questions in a row without a reply we stop asking: the server is down."""


class UnansweredError(OmlabError):
    """Questions that have no reply yet; those that have one are in the store.

    `answered` says how many came this time, `missing` how many did not.
    """

    def __init__(self, sentence: str, *, answered: int, missing: int) -> None:
        super().__init__(sentence)
        self.answered, self.missing = answered, missing


def ask_all(questions: Mapping[K, Messages], *, judge: Judge, store: ReplyStore[K], what: str) -> dict[K, str]:
    """A reply to each question, by its key: what the store has is not asked again.

    Args:
        questions: What the judge is told, by key.
        judge: Who is asked, as many at a time as it takes.
        store: Where replies are looked up and kept.
        what: Whose questions they are, for messages and the bar.

    Raises:
        UnansweredError: The judge leaves some without a reply, for all patience; the others are stored.
        JudgeRefusesError: It will answer none.
    """
    missing = {key: messages for key, messages in questions.items() if store.get(key) is None}
    if missing:
        _ask(missing, judge=judge, store=store, what=what, total=len(questions))
    replies = {key: store.get(key) for key in questions}
    return {key: reply for key, reply in replies.items() if reply is not None}


def _ask(missing: Mapping[K, Messages], *, judge: Judge, store: ReplyStore[K], what: str, total: int) -> None:
    stop = Event()

    def one(key: K, messages: Messages) -> None:
        if store.get(key) is not None:
            return  # another process has asked meanwhile
        reply = judge.ask(messages, stop=stop)
        store.add(key, reply.text, asked=datetime.now(UTC).isoformat(timespec="seconds"), **reply.more)

    failures: list[str] = []
    silent = 0
    with ThreadPoolExecutor(max_workers=judge.concurrency) as pool, progress.bar(what, total=total) as advance:
        advance(total - len(missing))
        waiting: list[Future[None]] = [pool.submit(one, key, messages) for key, messages in missing.items()]
        try:
            for future in as_completed(waiting):
                try:
                    future.result()
                    silent = 0
                    advance(1)
                except NoReplyError as error:
                    failures.append(str(error))
                    silent += 1
                if silent >= SILENCES:
                    break
        finally:  # replies on their way are waited for and stored; nothing new is asked
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    still = sum(store.get(key) is None for key in missing)
    if still:
        raise UnansweredError(
            f"{still} of {total} questions of {what} have no reply yet; the last trouble: {failures[-1]}. "
            "Run the same command again: only these are asked.",
            answered=len(missing) - still,
            missing=still,
        )
