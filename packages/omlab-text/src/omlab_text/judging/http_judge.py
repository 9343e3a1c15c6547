"""A judge behind an OpenAI-compatible server, which `omlab_text.endpoint` asks."""

from __future__ import annotations

import threading
import time

from omlab_text.chat import Chat
from omlab_text.endpoint import EndpointBackend, NoAnswerError, RefusedError, Server
from omlab_text.judging.judges import JudgeRefusesError, NoReplyError, Reply, reply_of
from omlab_text.judging.marked import Messages
from omlab_text.sampling import Sampling

ENDPOINT = "endpoint"


class HttpJudge:
    """Asks a server; one pool of connections for all threads, which goes with the judge."""

    def __init__(self, server: Server, *, max_tokens: int = 512, temperature: float = 0.0) -> None:
        self.server = server
        self.name = f"{ENDPOINT}/{server.model}"
        self.concurrency = server.concurrency
        self._backend = EndpointBackend(server)
        self._sampling = Sampling(max_tokens=max_tokens, temperature=temperature)

    def ask(self, messages: Messages, *, stop: threading.Event) -> Reply:
        """The reply, after as many attempts as the server's settings allow."""
        begin = time.monotonic()
        try:
            body = self._backend.prepare(Chat.from_value(messages), self._sampling)
            answer = self._backend.ask(body, stop=stop)
        except NoAnswerError as error:
            raise NoReplyError(f"The judge gave no reply: {error}") from None
        except RefusedError as error:
            raise JudgeRefusesError(f"The judge does not answer: {error}") from None
        return reply_of(answer.turn, answer.made, seconds=round(time.monotonic() - begin, 3))
