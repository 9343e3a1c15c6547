"""A backend behind an OpenAI-compatible server: patient with the server, careful with the key."""

from __future__ import annotations

import ipaddress
import json
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from omlab.errors import DeviceError, OmlabError, UsageError
from omlab_text.chat import Chat, End, Made, Turn
from omlab_text.chat_model import Answer
from omlab_text.rows import Message
from omlab_text.sampling import Sampling

LARGEST_REPLY = 4 << 20
"""Bytes of a response; more is no reply to our question."""
LONGEST_WAIT = 120.0
"""Seconds: neither back-off nor a server's Retry-After goes beyond."""
SILENCES = 8
"""After so many questions in a row without an answer no more are asked: the server is down."""

_RETRIED = frozenset({408, 409, 425, 429})
_HOPELESS = frozenset({401, 403, 404, 405})
_ENDS: tuple[End, ...] = ("stop", "length", "tool_calls", "content_filter")


class NoAnswerError(OmlabError):
    """A question that the server did not answer, for all patience."""


class RefusedError(DeviceError):
    """The server will answer no question as things stand: it ends a run, which goes on when it is started again."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a model answers and how patient we are. `key` is never shown, stored or logged.

    Attributes:
        url: Such as http://127.0.0.1:8000/v1.
        model: Its name there.
        key: What it asks for; "": nothing.
        timeout: Seconds until a request is given up.
        retries: Further attempts where the server is busy, fails, or answers with something else.
        back_off: Seconds before the second attempt; doubled for each further one.
        per_minute: Requests that may begin in a minute; 0: as many as there are.
        concurrency: Requests at a time.

    Raises `UsageError` for an address that is none or that holds a secret, or no name.
    """

    url: str
    model: str
    key: str = ""
    timeout: float = 600.0
    retries: int = 5
    back_off: float = 1.0
    per_minute: float = 0.0
    concurrency: int = 8

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL:
            raise UsageError("The server's address is not a URL: write http://host:port/v1.") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise UsageError("The server's address must begin with http:// or https://, as http://127.0.0.1:8000/v1.")
        if url.userinfo or url.query or url.fragment:
            raise UsageError(
                "The server's address holds a user, password or query, which would be logged: put the key into an "
                "environment variable and name that."
            )
        if not self.model:
            raise UsageError("Name the model that is to answer at the server.")

    def __repr__(self) -> str:
        return f"Server(url={self.url!r}, model={self.model!r})"

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


def key_from(variable: str, *, named_by: str) -> str:
    """The key in an environment variable; "" for none.

    Raises `UsageError` without repeating what was given, which may be the key itself.
    """
    if not variable:
        return ""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", variable) or not os.environ.get(variable, "").strip():
        raise UsageError(
            f"{named_by} must name an environment variable that holds the key (not the key itself), "
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


class EndpointBackend:
    """Asks `POST {url}/chat/completions` (`omlab_text.chat_model.Backend`); one pool of connections for all threads."""

    def __init__(self, server: Server) -> None:
        self.server, self.name = server, server.model
        self._pace = Pace(server.per_minute)
        self._silent = 0
        self._client = httpx.Client(
            timeout=httpx.Timeout(server.timeout),
            limits=httpx.Limits(max_connections=server.concurrency),
            headers={"Authorization": f"Bearer {server.key}"} if server.key else {},
            trust_env=not server.is_local,  # a proxy of the environment cannot reach this machine's own address
        )
        weakref.finalize(self, self._client.close)  # a session is never closed

    def prepare(self, chat: Chat, sampling: Sampling) -> Mapping[str, Any]:
        """The body of the request."""
        return _body(self.server.model, chat, sampling)

    def answer(self, prepared: Sequence[Mapping[str, Any]], sampling: Sampling) -> Iterator[Answer | OmlabError]:
        """As in `Backend`. Raises `RefusedError` also where the server has been silent for too long."""
        for body in prepared:
            if self._silent >= SILENCES:
                raise RefusedError(
                    f"{self.server.endpoint} gave no answer {SILENCES} times in a row: no more is asked."
                )
            try:
                answer = self.ask(body)
            except NoAnswerError as error:
                self._silent += 1
                yield error
            else:
                self._silent = 0
                yield answer

    def ask(self, body: Mapping[str, Any], *, stop: threading.Event | None = None) -> Answer:
        """The answer, after as many attempts as the server's settings allow.

        Raises:
            NoAnswerError: There was none, or `stop` was set.
            RefusedError: There will be none to any question: a wrong key, name or address.
        """
        stop = stop or threading.Event()
        reason = "it was not asked"
        for attempt in range(self.server.retries + 1):
            self._pace.wait(stop)
            if stop.is_set():
                raise NoAnswerError("The run was stopped before this question was asked.")
            found = self._attempt(body)
            if isinstance(found, Answer):
                return found
            reason = self._without_key(found.reason)
            if not found.again:
                break
            if attempt < self.server.retries:
                stop.wait(self._delay(attempt, found.after))
        raise NoAnswerError(f"The server gave no answer ({reason}).")

    def stream(self, prepared: Mapping[str, Any], sampling: Sampling) -> Iterator[str | Answer]:
        """As in `Backend`. It is asked once: what was shown cannot be taken back.

        Raises `NoAnswerError` where the stream breaks off or is none.
        """
        whole, end = "", ""
        usage: dict[str, Any] = {}
        try:
            with self._client.stream(
                "POST",
                self.server.endpoint,
                json={**prepared, "stream": True, "stream_options": {"include_usage": True}},
            ) as response:
                if response.status_code != 200:
                    raise NoAnswerError(self._failed(response, response.read()).reason)
                for event in _events(response):
                    usage = event.get("usage") or usage
                    for choice in event.get("choices") or []:
                        piece = (choice.get("delta") or {}).get("content") or ""
                        end = choice.get("finish_reason") or end
                        if piece:
                            whole += piece
                            if len(whole) > LARGEST_REPLY:
                                raise NoAnswerError("The answer has no end: it was stopped.")
                            yield piece
        except (httpx.HTTPError, ValueError, TypeError, AttributeError) as error:
            reason = self._without_key(f"{type(error).__name__}: {error}".rstrip(": "))
            raise NoAnswerError(f"The answer broke off ({reason}): ask again.") from None
        if not end:
            raise NoAnswerError("The answer broke off (the stream ended before the answer did): ask again.")
        yield Answer(turn=Turn(role="assistant", text=self._without_key(whole)), made=_made(self.name, end, usage, {}))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _attempt(self, body: Mapping[str, Any]) -> Answer | _Failure:
        end = time.monotonic() + self.server.timeout
        content = bytearray()
        try:
            with self._client.stream("POST", self.server.endpoint, json=body) as response:
                for block in response.iter_bytes():
                    content += block
                    if len(content) > LARGEST_REPLY:
                        return _Failure(f"more than {LARGEST_REPLY >> 20} MiB came back")
                    if time.monotonic() > end:  # httpx times single reads: a trickle would never end
                        return _Failure(f"the answer was not complete after {self.server.timeout:g} s")
        except httpx.HTTPError as error:
            return _Failure(f"{type(error).__name__}: {error}".rstrip(": "))
        if response.status_code != 200:
            return self._failed(response, bytes(content))
        return self._read(bytes(content))

    def _failed(self, response: httpx.Response, content: bytes) -> _Failure:
        """What a status says. Raises `RefusedError` where asking again is of no use, for any question."""
        status = response.status_code
        text = self._without_key(content[:300].decode("utf-8", "replace")).strip().replace("\n", " ")
        said = f"status {status}{f', {text}' if text else ''}"
        if status in _HOPELESS or 300 <= status < 400:
            raise RefusedError(
                f"{self.server.endpoint} refuses ({said}): check its address, the name of the model and the key."
            )
        if status in _RETRIED or status >= 500:
            return _Failure(said, after=_seconds(response.headers.get("retry-after")))
        return _Failure(said, again=False)

    def _read(self, content: bytes) -> Answer | _Failure:
        try:
            body = json.loads(self._without_key(content.decode()))
            choice = body["choices"][0]
            turn = Message.model_validate({**choice["message"], "role": "assistant"}).turn()
            made = _made(self.name, choice.get("finish_reason"), body.get("usage"), choice)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OmlabError):
            return _Failure(f"what came back is no chat completion: {content[:80]!r}")
        if choice["message"].get("content") is None and not turn.calls:
            return _Failure("the completion has no text")
        return Answer(turn=turn, made=made)

    def _delay(self, attempt: int, after: float | None) -> float:
        """Doubling, with jitter so that threads do not come back all at once; at least what the server asks for."""
        delay = self.server.back_off * 2.0**attempt * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        return min(max(delay, after or 0.0), LONGEST_WAIT)

    def _without_key(self, text: str) -> str:
        return text.replace(self.server.key, "[key]") if self.server.key else text


@dataclass(frozen=True)
class _Failure:
    reason: str
    again: bool = True
    after: float | None = None


def _body(model: str, chat: Chat, sampling: Sampling) -> dict[str, Any]:
    """A request in OpenAI's words; patterns and grammars, which these lack, in vLLM's."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [turn.to_value() for turn in chat.turns],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logprobs:
        body["logprobs"] = True
    if chat.tools:
        body["tools"] = [dict(tool) for tool in chat.tools]
    if sampling.schema:
        schema = {"name": "answer", "schema": json.loads(sampling.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if sampling.regex or sampling.grammar:
        name = "regex" if sampling.regex else "grammar"
        body["structured_outputs"] = {name: sampling.regex or sampling.grammar}
    return body


def _made(model: str, end: Any, usage: Any, choice: Mapping[str, Any]) -> Made:
    counts = usage if isinstance(usage, dict) else {}
    numbers = {
        ours: counts[theirs] if isinstance(counts.get(theirs), int) else None
        for ours, theirs in (("tokens_in", "prompt_tokens"), ("tokens_out", "completion_tokens"))
    }
    rows = (choice.get("logprobs") or {}).get("content") or []
    return Made(
        model=model,
        end=end if end in _ENDS else "stop",
        logprobs=tuple((str(row["token"]), float(row["logprob"])) for row in rows),
        **numbers,
    )


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The events of a stream up to its last. Raises `ValueError` for what is no event."""
    for line in response.iter_lines():
        if line.startswith("data:"):
            text = line.removeprefix("data:").strip()
            if text == "[DONE]":
                return
            event = json.loads(text)
            if not isinstance(event, dict):
                raise ValueError(f"an event is no object: {text[:80]!r}")
            yield event


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text is not None and float(text) < 1e9 else None
    except ValueError:
        return None  # a date: our own back-off is as good
