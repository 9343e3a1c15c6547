"""The page's server: who asks is told by a token, what is answered is on the disk before it is answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omlab.errors import InputError
from omlab_text.label.accounts import Account
from omlab_text.label.handing import hand_out, shown_order
from omlab_text.label.labels import BEST, LEAST, read_label
from omlab_text.label.questions import Question
from omlab_text.label.records import overview
from omlab_text.label.store import Store

LARGEST = 256 * 1024
"""Bytes of a request."""
_HEADERS = {
    # nothing but the page's own files: what answers hold is never fetched, run or framed
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
Answering = Callable[[Account, Any], Any]


def application(store: Store) -> Starlette:
    """The page and what it asks.

    An answer is shown by its place in the annotator's own order, "0", "1", ...: neither its id nor its model, which may
    tell whose it is, leaves the server.
    """
    labelling = _Labelling(store)
    asked = [
        ("/api/me", "GET", labelling.me),
        ("/api/next", "POST", labelling.next),
        ("/api/open", "POST", labelling.open),
        ("/api/label", "PUT", labelling.label),
        ("/api/overview", "GET", labelling.overview),
    ]
    routes = [Route(path, _file(name, media)) for path, (name, media) in _FILES.items()]
    routes += [Route(path, _for_accounts(store, answer), methods=[method]) for path, method, answer in asked]
    return Starlette(routes=routes, exception_handlers={HTTPException: _refused})


class _Labelling:
    """What the page asks for: each is given the account and the request's JSON, and gives JSON."""

    def __init__(self, store: Store) -> None:
        self.store, self.settings = store, store.settings()
        self.questions = {question.id: question for question in store.questions()}

    def me(self, account: Account, asked: Any) -> Any:
        """Who asks, and what labels are made of."""
        return {
            "name": account.name,
            "role": account.role,
            "axes": self.settings["axes"],
            "tags": self.settings["tags"],
            "scores": [LEAST, BEST],
            "deidentified": bool(self.settings["deidentify"]),
        }

    def next(self, account: Account, asked: Any) -> Any:
        """The question to be labelled next."""
        id = hand_out(self.store, account, list(self.questions.values()))
        return self._shown(account, id)

    def open(self, account: Account, asked: Any) -> Any:
        """One that the account was handed before: {"id"}."""
        return self._shown(account, self._question(asked).id)

    def label(self, account: Account, asked: Any) -> Any:
        """Keep {"id", "label"}."""
        question = self._question(asked)
        order = shown_order(question, annotator=account.name, seed=self.settings["seed"])
        places = {str(place): id for place, id in enumerate(order)}
        label = read_label(
            asked.get("label"), answers=list(places), axes=self.settings["axes"], tags=self.settings["tags"]
        )
        self.store.put(question.id, account.name, label.renamed(places))
        return {"state": label.state}

    def overview(self, account: Account, asked: Any) -> Any:
        """How far everybody is, for those who do not label themselves."""
        if account.role == "annotator":
            raise HTTPException(403, "Annotators do not see what others said.")
        return overview(self.store)

    def _shown(self, account: Account, id: str | None) -> Any:
        own = self.store.own(account.name)
        finished = [question for question, label in own.items() if label.state != "draft"]
        if id is None:
            return {"question": None, "finished": finished}
        if id not in own:
            raise HTTPException(403, "This question was not handed out to you.")
        question = self.questions[id]
        order = shown_order(question, annotator=account.name, seed=self.settings["seed"])
        texts = {answer.id: answer.text for answer in question.answers}
        label = own[id].renamed({answer: str(place) for place, answer in enumerate(order)})
        shown = {
            "id": id,
            "area": question.area,
            "disease": question.disease,
            "prompt": list(question.prompt),
            "answers": [texts[answer] for answer in order],
        }
        return {"question": shown, "label": label.model_dump(), "finished": finished}

    def _question(self, asked: Any) -> Question:
        id = asked.get("id") if isinstance(asked, dict) else None
        if not isinstance(id, str) or id not in self.questions:
            raise HTTPException(404, "There is no such question.")
        return self.questions[id]


def _for_accounts(store: Store, answer: Answering) -> Callable[[Request], Any]:
    """Let those in who bring a token in the header, which no other site can make a browser send."""

    async def endpoint(request: Request) -> Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        account = await run_in_threadpool(store.account, token) if scheme == "Bearer" else None
        if account is None:
            raise HTTPException(401, "Open the link that you were given: this one has no valid token.")
        asked = await _json(request) if request.method != "GET" else None
        try:
            found = await run_in_threadpool(answer, account, asked)
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        return _said(found)

    return endpoint


async def _json(request: Request) -> Any:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise HTTPException(413, "That is more than a label holds.")
    try:
        return json.loads(body or b"null")
    except (ValueError, RecursionError):
        raise HTTPException(400, "That is not JSON.") from None


def _file(name: str, media: str) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        content = resources.files("omlab_text.label").joinpath("page", name).read_bytes()
        return Response(content, media_type=media, headers=_HEADERS)

    return endpoint


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _said({"error": error.detail}, status=error.status_code)


def _said(value: Any, *, status: int = 200) -> Response:
    content = json.dumps(value)  # in ASCII: a model's text may hold half a surrogate pair, which UTF-8 does not
    return Response(content, status_code=status, media_type="application/json", headers=_HEADERS)
