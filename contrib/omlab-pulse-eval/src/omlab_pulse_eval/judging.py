"""Have a schedule judged: what is stored is taken from the store, the rest is asked, every reply is kept at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omlab.errors import InputError
from omlab.files import writing
from omlab_pulse_eval.answers import AnswerSet
from omlab_pulse_eval.prompts import Form, messages_of
from omlab_pulse_eval.recorded import Key, Recorded
from omlab_pulse_eval.schedule import Seats
from omlab_text.judging.asking import ask_all
from omlab_text.judging.judges import Judge
from omlab_text.judging.marked import Messages, prompt_digest
from omlab_text.judging.store import ReplyStore


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
    answers: AnswerSet, battles: Sequence[Seats], *, judge: Judge, store: ReplyStore[Key], form: Form
) -> list[Judged]:
    """A reply to every battle. Raises `OmlabError` where the judge leaves some without; the others are stored."""
    questions = open_questions(answers, battles, judge=judge.name, form=form)
    replies = ask_all(questions, judge=judge, store=store, what=answers.name)
    keys = [_key(answers.name, seats, judge.name, battle_messages(answers, seats, form)) for seats in battles]
    return [Judged(seats, replies[key], key.prompt) for seats, key in zip(battles, keys, strict=True)]


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
