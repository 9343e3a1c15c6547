"""The judge that settings name. What takes a judge has settings of these names, all or some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omlab.errors import InputError, UsageError
from omlab_text.endpoint import Server, key_from
from omlab_text.judging.http_judge import ENDPOINT, HttpJudge
from omlab_text.judging.judges import LocalJudge

RECORDED, TRANSFORMERS = "recorded", "transformers"


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """Who judges, and how it is asked: the settings `judge` and `judge_...`.

    Attributes:
        judge: `recorded:PATH`, `endpoint`, or `transformers` (a model on this machine).
        judge_model: Its name at the server; on this machine a model of omlab or a folder.
        judge_url: Address of the server.
        judge_key_env: Environment variable that holds the server's key.
        judge_timeout: Seconds until a request is given up.
        judge_retries: Further attempts where the server is busy, fails, or answers with something else.
        judge_back_off: Seconds before the second attempt; doubled for each further one.
        judge_concurrency: Requests at a time.
        judge_per_minute: Requests that may begin in a minute; 0: no limit.
        judge_max_tokens: Longest reply.
        judge_temperature: Of a server's replies.
        judge_device: Of a model on this machine.
    """

    judge: str
    judge_model: str = ""
    judge_url: str = ""
    judge_key_env: str = ""
    judge_timeout: float = 60.0
    judge_retries: int = 5
    judge_back_off: float = 1.0
    judge_concurrency: int = 4
    judge_per_minute: float = 0.0
    judge_max_tokens: int = 512
    judge_temperature: float = 0.0
    judge_device: str = "auto"

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> JudgeSettings:
        """Those of complete settings that are about this."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in settings.items() if name in known})


def recorded_path(judge: str) -> Path | None:
    """The path of `recorded:PATH`; None for another judge. Raises `UsageError`, `InputError` where it is not there."""
    kind, colon, path = judge.partition(":")
    if kind != RECORDED:
        return None
    if not colon or not path:
        raise UsageError("Say where the recorded replies are: the judge is recorded:FOLDER.")
    found = Path(path)
    if not found.exists():
        raise InputError(f"The place of recorded replies {found} does not exist.")
    return found


def open_judge(chosen: JudgeSettings) -> HttpJudge | LocalJudge:
    """The judge at a server or on this machine.

    Raises:
        UsageError: There is no such kind of judge, or its model, address or key is missing or wrong.
        JudgeRefusesError: The model on this machine cannot be loaded.
    """
    server = judge_server(chosen)
    if server is None:
        return LocalJudge(chosen.judge_model, device=chosen.judge_device, max_tokens=chosen.judge_max_tokens)
    return HttpJudge(server, max_tokens=chosen.judge_max_tokens, temperature=chosen.judge_temperature)


def judge_server(chosen: JudgeSettings) -> Server | None:
    """Where the judge answers; None for one on this machine. Nothing is asked or loaded.

    Raises `UsageError` where there is no such kind of judge, or its model, address or key is missing or wrong.
    """
    if chosen.judge not in (ENDPOINT, TRANSFORMERS):
        raise UsageError(f"The judge is '{chosen.judge}', but must be {RECORDED}:FOLDER, {ENDPOINT} or {TRANSFORMERS}.")
    if not chosen.judge_model:
        raise UsageError("Name the judge's model: judge_model is the name at the server, a model of omlab or a folder.")
    if chosen.judge == TRANSFORMERS:
        return None
    return Server(
        url=chosen.judge_url,
        model=chosen.judge_model,
        key=key_from(chosen.judge_key_env, named_by="judge_key_env"),
        timeout=chosen.judge_timeout,
        retries=chosen.judge_retries,
        back_off=chosen.judge_back_off,
        concurrency=chosen.judge_concurrency,
        per_minute=chosen.judge_per_minute,
    )
