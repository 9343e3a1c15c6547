"""A judge behind an OpenAI-compatible HTTP interface: patient with the server, careful with the key."""

from __future__ import annotations

import ipaddress
import json
import os
import random
import re
import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx

from omlab.errors import UsageError
from omlab_pulse_eval.judges import JudgeRefusesError, NoReplyError, Reply
from omlab_pulse_eval.prompts import Messages

LARGEST_REPLY = 4 << 20
"""Bytes of a response; more is no reply to our question."""

LONGEST_WAIT = 120.0
"""Seconds: neither back-off nor a server's Retry-After goes beyond."""

_RETRIED = frozenset({408, 409, 425, 429})
_HOPELESS = frozenset({401, 403, 404, 405})


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Where the judge is and how patient we are. `key` is never shown, stored or logged."""

    url: str
    model: str
    key: str = ""
    timeout: float = 60.0
    retries: int = 5
    back_off: float = 1.0
    concurrency: int = 4
    per_minute: float = 0.0
    max_tokens: int = 512
    temperature: float = 0.0

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL:
            raise UsageError("The judge's address is not a URL: write --judge-url http://host:port/v1.") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise UsageError("The judge's address must begin with http:// or https://, as http://127.0.0.1:8000/v1.")
        if url.userinfo or url.query or url.fragment:
            raise UsageError(
                "The judge's address holds a user, password or query, which would be logged: put the key into an "
                "environment variable and name that with --judge-key-env."
            )
        if not self.model:
            raise UsageError("Name the judge's model: --judge-model NAME.")

    def __repr__(self) -> str:
        return f"HttpSettings(url={self.url!r}, model={self.model!r})"

    @property
    def endpoint(self) -> str:
        """The full address of the chat completions."""
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine: nothing leaves it, nothing is billed."""
        host = httpx.URL(self.url).host
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def key_from(variable: str) -> str:
    """The key in an environment variable. Raises `UsageError` without repeating what was given."""
    if not variable:
        return ""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", variable) or not os.environ.get(variable, "").strip():
        raise UsageError(
            "--judge-key-env must name an environment variable that holds the key (not the key itself), "
            "and there is none of the given name."
        )
    key = os.environ[variable].strip()
    if not key.isascii() or not key.isprintable():
        raise UsageError("The key in the environment variable has characters that no HTTP header can carry.")
    return key


class Pace:
    """Lets a number of requests a minute begin, evenly spaced; 0: as many as there are."""

    def __init__(self, per_minute: float) -> None:
        self._gap = 60.0 / per_minute if per_minute > 0 else 0.0
        self._next = 0.0
        self._guard = threading.Lock()

    def wait(self, stop: threading.Event) -> None:
        """Return when the next request may begin, or `stop` is set."""
        if not self._gap:
            return
        with self._guard:
            now = time.monotonic()
            begin = max(now, self._next)
            self._next = begin + self._gap
        stop.wait(begin - now)


class HttpJudge:
    """Asks `POST {url}/chat/completions`; one connection pool for all threads."""

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self.name = f"openai-compatible/{settings.model}"
        self.concurrency = settings.concurrency
        self._pace = Pace(settings.per_minute)
        self._client = httpx.Client(
            timeout=httpx.Timeout(settings.timeout),
            limits=httpx.Limits(max_connections=settings.concurrency),
            headers={"Authorization": f"Bearer {settings.key}"} if settings.key else {},
            trust_env=not settings.is_local,  # a proxy of the environment cannot reach this machine's own address
        )

    def ask(self, messages: Messages, *, stop: threading.Event) -> Reply:
        """The reply, after as many attempts as the settings allow."""
        reason = "it was not asked"
        for attempt in range(self.settings.retries + 1):
            self._pace.wait(stop)
            if stop.is_set():
                raise NoReplyError("The run was stopped before this question was asked.")
            begin = time.monotonic()
            try:
                found = self._attempt(messages)
            except httpx.HTTPError as error:
                found = _Failure(f"{type(error).__name__}: {error}".rstrip(": "))
            if isinstance(found, Reply):
                return Reply(self._without_key(found.text), {**found.more, "seconds": round(_since(begin), 3)})
            reason = self._without_key(found.reason)
            if not found.again:
                break
            if attempt < self.settings.retries:
                stop.wait(self._delay(attempt, found.after))
        raise NoReplyError(f"The judge gave no reply ({reason})")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _attempt(self, messages: Messages) -> Reply | _Failure:
        body = {
            "model": self.settings.model,
            "messages": messages,
            "temperature": self.settings.temperature,
            "max_tokens": self.settings.max_tokens,
        }
        end = time.monotonic() + self.settings.timeout
        content = bytearray()
        with self._client.stream("POST", self.settings.endpoint, json=body) as response:
            for block in response.iter_bytes():
                content += block
                if len(content) > LARGEST_REPLY:
                    return _Failure(f"more than {LARGEST_REPLY >> 20} MiB came back")
                if time.monotonic() > end:  # httpx times single reads: a trickle would never end
                    return _Failure(f"the reply was not complete after {self.settings.timeout:g} s")
        status = response.status_code
        if status == 200:
            return _read_reply(bytes(content))
        text = self._without_key(bytes(content[:300]).decode("utf-8", "replace")).strip().replace("\n", " ")
        said = f"status {status}{f', {text}' if text else ''}"
        if status in _HOPELESS or 300 <= status < 400:
            raise JudgeRefusesError(
                f"The judge at {self.settings.endpoint} refuses ({said}); "
                "check its address, its model's name and its key."
            )
        if status in _RETRIED or status >= 500:
            return _Failure(said, after=_seconds(response.headers.get("retry-after")))
        return _Failure(said, again=False)

    def _delay(self, attempt: int, after: float | None) -> float:
        """Doubling, with jitter so that threads do not come back all at once; at least what the server asks for."""
        delay = self.settings.back_off * 2.0**attempt * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        return min(max(delay, after or 0.0), LONGEST_WAIT)

    def _without_key(self, text: str) -> str:
        return text.replace(self.settings.key, "[key]") if self.settings.key else text


@dataclass(frozen=True)
class _Failure:
    reason: str
    again: bool = True
    after: float | None = None


def _read_reply(content: bytes) -> Reply | _Failure:
    try:
        body = json.loads(content)
        text = body["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return _Failure(f"what came back is no chat completion: {content[:80]!r}")
    if not isinstance(text, str):
        return _Failure("the completion has no text")
    usage = body.get("usage")
    return Reply(text, _tokens(usage) if isinstance(usage, dict) else {})


def _tokens(usage: dict[str, Any]) -> dict[str, int]:
    names = {"tokens_in": "prompt_tokens", "tokens_out": "completion_tokens"}
    return {ours: usage[theirs] for ours, theirs in names.items() if isinstance(usage.get(theirs), int)}


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text is not None and float(text) < 1e9 else None
    except ValueError:
        return None  # a date: our own back-off is as good


def _since(begin: float) -> float:
    return time.monotonic() - begin
