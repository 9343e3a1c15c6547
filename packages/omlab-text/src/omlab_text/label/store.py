"""The SQLite file of a labelling: questions, accounts, labels, and the settings that it was begun with."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab.errors import InputError, UsageError
from omlab_text.label.accounts import ROLES, Account, Role, digest_of, new_token
from omlab_text.label.labels import Label
from omlab_text.label.questions import Question

_FORM = 1
_TABLES = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE question (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, value TEXT NOT NULL);
CREATE TABLE account (name TEXT PRIMARY KEY, role TEXT NOT NULL, digest TEXT NOT NULL UNIQUE);
CREATE TABLE label (
    question TEXT NOT NULL REFERENCES question (id), annotator TEXT NOT NULL REFERENCES account (name),
    value TEXT NOT NULL, changed REAL NOT NULL, PRIMARY KEY (question, annotator)
);
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A label with whose it is, and when it was written last (seconds since 1970)."""

    question: str
    annotator: str
    role: Role
    label: Label
    changed: float


class Store:
    """A labelling in a file.

    Every method is one transaction, on the disk when it returns; threads and processes may call at once.

    Args:
        path: The file.
        create: Make it where there is none.

    Raises `InputError` where there is no file, or it is another program's.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if not create and not path.is_file():
            raise InputError(f"There is no {path}: `omlab label serve` makes it.")
        try:
            with self.changing() as connection:
                form = connection.execute("PRAGMA user_version").fetchone()[0]
                if form == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
                    for table in _TABLES.split(";"):
                        connection.execute(table)
                    connection.execute(f"PRAGMA user_version = {_FORM}")
                elif form != _FORM:
                    raise InputError(f"{path} holds no labels of this version of omlab.")
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path} cannot be used as a file of labels: {error}.") from None

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that nobody writes beside."""
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=30)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def served(self) -> Iterator[Store]:
        """The store for its one server. Raises `UsageError` where there is one already."""
        from filelock import FileLock, Timeout

        lock = FileLock(f"{self.path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(f"{self.path} is served already: stop that server, or name another --store.") from None
        try:
            yield self
        finally:
            lock.release()

    def begin(self, settings: Mapping[str, Any], *, given: Mapping[str, Any]) -> dict[str, Any]:
        """Keep settings where none are kept yet; the kept ones. Raises `UsageError` where a given one differs."""
        with self.changing() as connection:
            kept = _settings(connection)
            if not kept:
                rows = [(name, json.dumps(value)) for name, value in settings.items()]
                connection.executemany("INSERT INTO setting VALUES (?, ?)", rows)
                return dict(settings)
        for name in given:
            if settings[name] != kept[name]:
                raise UsageError(
                    f"{self.path} was begun with {name}={kept[name]!r}: leave the setting out, or name another --store."
                )
        return kept

    def settings(self) -> dict[str, Any]:
        """Those that the labelling was begun with."""
        with self.changing() as connection:
            return _settings(connection)

    def add_questions(self, questions: Sequence[Question]) -> int:
        """Keep questions; how many were new.

        Raises `InputError` for one that is kept with another prompt or other answers.
        """
        with self.changing() as connection:
            kept = dict(connection.execute("SELECT id, value FROM question"))
            new = 0
            for question in questions:
                value = json.dumps(question.to_value(), sort_keys=True)
                if question.id not in kept:
                    connection.execute("INSERT INTO question (id, value) VALUES (?, ?)", (question.id, value))
                    new += 1
                elif kept[question.id] != value:
                    raise InputError(
                        f"{self.path} holds the question '{question.id}' with another text or other answers: "
                        "give it a new id, or name another --store."
                    )
            return new

    def questions(self) -> list[Question]:
        """All of them, in the order in which they came."""
        with self.changing() as connection:
            rows = connection.execute("SELECT value FROM question ORDER BY place").fetchall()
        return [Question.from_value(json.loads(value)) for (value,) in rows]

    def add_account(self, name: str, role: str) -> str:
        """A new account's token, or a new token of an account that is there, which ends the old one.

        Raises `UsageError` for a name that cannot be printed, and a role that there is not, or not the account's.
        """
        if not name.strip() or not name.isprintable() or role not in ROLES:
            raise UsageError(f"An account has a printable name and one of the roles {', '.join(ROLES)}.")
        token = new_token()
        with self.changing() as connection:
            kept = connection.execute("SELECT role FROM account WHERE name = ?", (name,)).fetchone()
            if kept and kept[0] != role:
                raise UsageError(f"'{name}' is there as {kept[0]}: choose another name for the {role}.")
            connection.execute("INSERT OR REPLACE INTO account VALUES (?, ?, ?)", (name, role, digest_of(token)))
        return token

    def accounts(self) -> list[Account]:
        """All accounts by name."""
        with self.changing() as connection:
            rows = connection.execute("SELECT name, role FROM account ORDER BY name").fetchall()
        return [Account(name=name, role=role) for name, role in rows]

    def account(self, token: str) -> Account | None:
        """Whose token it is."""
        with self.changing() as connection:
            rows = connection.execute("SELECT name, role FROM account WHERE digest = ?", (digest_of(token),)).fetchall()
        return next((Account(name=name, role=role) for name, role in rows), None)

    def entries(self) -> list[Entry]:
        """All labels, by question and annotator."""
        with self.changing() as connection:
            return entries(connection)

    def own(self, annotator: str) -> dict[str, Label]:
        """What one annotator was handed, in the order of the questions."""
        with self.changing() as connection:
            rows = connection.execute(
                "SELECT question, label.value FROM label JOIN question ON question.id = question "
                "WHERE annotator = ? ORDER BY place",
                (annotator,),
            ).fetchall()
        return {question: _label(value) for question, value in rows}

    def put(self, question: str, annotator: str, label: Label) -> None:
        """Keep a label in the place of what the annotator said before.

        Raises `InputError` where the question was not handed out to them, and for a draft of what is finished, which
        comes from a page that was left open.
        """
        with self.changing() as connection:
            kept = connection.execute(
                "SELECT value FROM label WHERE question = ? AND annotator = ?", (question, annotator)
            ).fetchone()
            if kept is None:
                raise InputError("This question was not handed out to you.")
            if label.state == "draft" and _label(kept[0]).state != "draft":
                raise InputError("This question is finished: open it again to change it.")
            put(connection, question, annotator, label)


def entries(connection: sqlite3.Connection) -> list[Entry]:
    """All labels, by question and annotator, inside a transaction."""
    rows = connection.execute(
        "SELECT question, annotator, role, label.value, changed FROM label JOIN account ON account.name = annotator "
        "JOIN question ON question.id = question ORDER BY place, annotator"
    )
    return [
        Entry(question=question, annotator=annotator, role=role, label=_label(value), changed=changed)
        for question, annotator, role, value, changed in rows
    ]


def put(connection: sqlite3.Connection, question: str, annotator: str, label: Label) -> None:
    """Keep a label, inside a transaction."""
    row = (question, annotator, label.model_dump_json(), time.time())
    connection.execute("INSERT OR REPLACE INTO label VALUES (?, ?, ?, ?)", row)


def _label(value: str) -> Label:
    return Label.model_validate_json(value)


def _settings(connection: sqlite3.Connection) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in connection.execute("SELECT name, value FROM setting")}
