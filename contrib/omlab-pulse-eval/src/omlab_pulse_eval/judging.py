"""Have a schedule judged: what is stored is taken from the store, the rest is asked, every reply is kept at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from omlab import progress
from omlab.errors import InputError, OmlabError
from omlab.files import writing
from omlab_pulse_eval.answers import AnswerSet
from omlab_pulse_eval.judges import Judge, NoReplyError
from omlab_pulse_eval.prompts import Form, Messages, messages_of, prompt_digest
from omlab_pulse_eval.schedule import Seats
from omlab_pulse_eval.store import Key, Recorded, ReplyStore

SILENCES = 8
"""After so many questions in a row without a reply we stop asking: the server is down."""


@dataclass(frozen=True)
class Judged:
    """A battle with its reply, and the digest of the prompt that it was given to."""

    seats: Seats
    reply: str
    prompt: str = ""


def battle_messages(answers: AnswerSet, seats: Seats, form: Form) -> Messages:
    """What the judge is told about one battle."""
    return messages_of(
        form,
        question=answers.questions[seats.item],
        reference=answers.references[seats.item],
        first=answers.answers[seats.first][seats.item],
        second=answers.answers[seats.second][seats.item],
    )


def replay(answers: AnswerSet, battles: Sequence[Seats], recorded: Recorded, *, form: Form) -> tuple[list[Judged], int]:
    """The recorded replies to a schedule, and how many of them were given to another prompt than ours.

    Raises `InputError` where battles have no recorded reply.
    """
    judged, missing, other = [], [], 0
    for seats in battles:
        found = recorded.get(answers.name, seats.item, seats.first, seats.second, seats.draw)
        if found is None:
            missing.append(seats)
            continue
        reply, prompt = found
        other += prompt not in ("", prompt_digest(battle_messages(answers, seats, form)))
        judged.append(Judged(seats, reply, prompt))
    if missing:
        seats = missing[0]
        raise InputError(
            f"{recorded.path} has no reply to {len(missing)} of the {len(battles)} battles of {answers.name}; "
            f"the first is item {seats.item}, {seats.first} before {seats.second}. Are the models, their order and "
            "the seed those of the recording?"
        )
    return judged, other


def open_questions(answers: AnswerSet, battles: Sequence[Seats], *, judge: str, form: Form) -> dict[Key, Messages]:
    """What there is to ask, by key. A battle drawn twice in the same seats is asked once."""
    questions = {}
    for seats in battles:
        messages = battle_messages(answers, seats, form)
        questions[_key(answers.name, seats, judge, messages)] = messages
    return questions


def judge_all(
    answers: AnswerSet, battles: Sequence[Seats], *, judge: Judge, store: ReplyStore, form: Form
) -> list[Judged]:
    """A reply to every battle. Raises `OmlabError` where the judge leaves some without; the others are stored."""
    questions = open_questions(answers, battles, judge=judge.name, form=form)
    missing = {key: messages for key, messages in questions.items() if store.get(key) is None}
    if missing:
        _ask(missing, judge=judge, store=store, name=answers.name, total=len(questions))
    judged = []
    for seats in battles:
        key = _key(answers.name, seats, judge.name, battle_messages(answers, seats, form))
        reply = store.get(key)
        assert reply is not None
        judged.append(Judged(seats, reply, key.prompt))
    return judged


def write_replies(judged: Sequence[Judged], path: Path, *, set: str, judge: str) -> None:
    """Write the replies that counted, in the form in which `Recorded` reads them."""
    with writing("The replies", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as stream:
            for battle in judged:
                row = {"set": set, **asdict(battle.seats), "judge": judge, "prompt": battle.prompt}
                stream.write(json.dumps({**row, "reply": battle.reply}) + "\n")


def _key(name: str, seats: Seats, judge: str, messages: Messages) -> Key:
    return Key(
        set=name,
        item=seats.item,
        first=seats.first,
        second=seats.second,
        judge=judge,
        prompt=prompt_digest(messages),
    )


def _ask(missing: Mapping[Key, Messages], *, judge: Judge, store: ReplyStore, name: str, total: int) -> None:
    stop = Event()

    def one(key: Key, messages: Messages) -> None:
        if store.get(key) is not None:
            return  # another process has asked meanwhile
        reply = judge.ask(messages, stop=stop)
        store.add(key, reply.text, asked=datetime.now(UTC).isoformat(timespec="seconds"), **reply.more)

    failures: list[str] = []
    silent = 0
    with ThreadPoolExecutor(max_workers=judge.concurrency) as pool, progress.bar(name, total=total) as advance:
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
        raise OmlabError(
            f"{still} of {total} questions of {name} have no reply yet; the last trouble: {failures[-1]}. "
            "Run the same command again: only these are asked."
        )
