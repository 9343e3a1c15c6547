"""A talk with a model, line by line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import click

import omlab
from omlab import Delta
from omlab.errors import DeviceError, OmlabError, UsageError
from omlab.models import untrained_notes
from omlab.session import Session
from omlab_text.chat import Chat, Turn, ask

HELP = "A line is a question. /clear begins anew, /save FILE.jsonl keeps what was said, /quit ends."


class Talk:
    """A talk that is going on.

    Args:
        session: A model whose verb `generate` takes and gives a chat, and streams.
        system: What the model is told before the first question; "": nothing.
        options: Of the verb.

    Raises `UsageError` where the model's verb is of another form.
    """

    def __init__(self, session: Session, *, system: str = "", options: Mapping[str, Any]) -> None:
        facts = session.verb("generate")
        if facts.kinds.get("chat") != "chat" or facts.gives != "chat" or not facts.streams:
            raise UsageError(f"'{session.name}' does not chat: its generate takes no chat, or does not stream one.")
        self.session, self.system, self.options = session, system, options
        self.chat: Chat | None = None

    def run(self) -> None:
        """Read lines and answer them until there are no more.

        Raises `DeviceError` where no further question can be answered.
        """
        with suppress(ImportError):
            import readline  # noqa: F401  # lines can be edited, and come back by the arrow keys
        watched = sys.stdin.isatty()
        for note in untrained_notes(self.session):
            click.echo(note, err=True)
        if watched:
            click.echo(f"{self.session.name}. {HELP}")
        while (line := _line(watched=watched)) is not None:
            if line == "/quit":
                return
            try:
                self.take(line)
            except DeviceError:
                raise
            except OmlabError as error:  # the talk goes on from where it was
                click.echo(f"Error: {error}", err=True)

    def take(self, line: str) -> None:
        """Do what a line says, or answer it. Raises `OmlabError`."""
        word, _, rest = line.partition(" ")
        if word == "/clear":
            self.chat = None
        elif word == "/save":
            self._save(rest.strip())
        elif word.startswith("/"):
            raise UsageError(f"There is no '{word}'. {HELP}")
        elif line.strip():
            self._answer(line)

    def _answer(self, question: str) -> None:
        asked = (
            ask(question, system=self.system) if self.chat is None else self.chat.then(Turn(role="user", text=question))
        )
        pieces = self.session.stream("generate", {"chat": asked}, **self.options)
        try:
            with closing(pieces):  # type: ignore[type-var]  # a session's stream is a generator
                for piece in pieces:
                    if isinstance(piece, Delta):
                        click.echo(piece.text, nl=False)
                    elif isinstance(piece, Chat):
                        self.chat = piece
        except KeyboardInterrupt:  # stops the answer, which is no part of the talk
            click.echo(" ... stopped", nl=False)
        finally:
            click.echo()

    def _save(self, name: str) -> None:
        if self.chat is None:
            raise UsageError("Nothing was said yet.")
        if not name:
            raise UsageError("Say where: /save FILE.jsonl.")
        path = Path(name)
        if path.exists():
            raise UsageError(f"{path} exists already: choose another name.")
        omlab.write(self.chat, path)
        click.echo(f"Saved to {path}.")


def _line(*, watched: bool) -> str | None:
    """The next line; None: there is none."""
    try:
        return input("> " if watched else "").strip()
    except EOFError:
        return None
    except UnicodeDecodeError:
        raise UsageError("What was typed is not UTF-8 text.") from None
