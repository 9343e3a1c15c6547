"""Checks of formats: what is written can be read again, what cannot be read is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import FormatCard
from omlab.errors import InputError, MissingDependencyError, OmlabError
from omlab.payloads import Lazy, keeps
from omlab.settings import complete
from omlab_testkit.checks import check
from omlab_testkit.checks.odd import refusal
from omlab_testkit.compare import Tolerance, difference, fingerprint
from omlab_testkit.loading import quiet
from omlab_testkit.outcome import CannotCheckError, PromiseError
from omlab_testkit.subjects import CardSubject

STORED = Tolerance(relative=1e-5)
"""What storing float32 or float64 numbers may change."""
IDS = ("a", "b, with a comma", "c/with a slash", "d = 1", "é-ß", "=1+1")
"""Ids of cases, in their order: whatever names a user's files have."""
_GEOMETRY = ("array", "affine")


@check(of="format")
def bad_files_are_refused(subject: CardSubject, folder: Path) -> None:
    """An absent, empty, cut off or renamed file and an empty folder are `InputError`s that name the path."""
    card, reader = _format(subject)
    for kind in card.reads:
        for path, what in _bad_paths(subject, card, reader, kind=kind, folder=folder):
            with quiet():
                said = refusal(
                    lambda path=path, kind=kind: _read(subject, path, kind=kind),  # type: ignore[misc]
                    what=f"{what} read as '{card.name}' ({path.name})",
                    wanted=InputError,
                )
            if path.name not in said:
                raise PromiseError(f"'{card.name}' refuses {what} without naming {path.name}: {said}")


def _bad_paths(
    subject: CardSubject, card: FormatCard, reader: Any, *, kind: str, folder: Path
) -> Iterator[tuple[Path, str]]:
    for suffix in card.suffixes:
        stem = f"{kind}-{suffix.replace('.', '')}"
        yield folder / f"{stem}-absent{suffix}", "an absent file"
        contents = {
            "an empty file": b"",
            "a text file": b"patient: unknown\n" * 100,
            "a renamed file": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
        }
        for what, content in contents.items():
            path = folder / f"{stem}-{what.split()[1]}{suffix}"
            path.write_bytes(content)
            if not (what == "a text file" and ".txt" in card.suffixes):  # any text is such a file
                yield path, what
        whole = _written(subject, reader, kind=kind, path=folder / f"{stem}-whole{suffix}", card=card)
        if whole is not None and whole.is_file() and _can_be_told(whole.read_bytes()):
            path = folder / f"{stem}-cut{suffix}"
            path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
            yield path, "a file that is cut off"
    if card.folders:
        empty = folder / f"{kind}-empty-folder"
        empty.mkdir()
        yield empty, "an empty folder"


def _can_be_told(content: bytes) -> bool:
    """Whether a file that was cut off differs from a whole one: not where it is lines of text, but where it is JSON."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return True
    return text.lstrip()[:1] in ("{", "[")


@check(of="format")
def what_is_written_can_be_read(subject: CardSubject, folder: Path) -> None:
    """Reading what was written gives the same again, on the same grid, for every suffix; the payload is not changed."""
    card, writer = _format(subject)
    for kind in sorted(set(card.reads) & set(card.writes)):
        for number, payload in enumerate(subject.examples(kind)):
            for suffix in card.suffixes or [""]:
                path = folder / f"{kind}-{number}{suffix}"
                if _written(subject, writer, kind=kind, path=path, card=card, number=number) is None:
                    continue
                with quiet():
                    again = _read(subject, path, kind=kind)
                _check_kept(again, payload, what=f"'{card.name}' does not keep {kind} example {number} in {path.name}")


@check(of="format")
def collected_results_are_read_by_key(subject: CardSubject, folder: Path) -> None:
    """Records of cases, streamed and ordered by id, become one file in which each is found again by its id."""
    card, writer = _format(subject)
    for kind in card.collects:
        payloads = dict(zip(sorted(IDS), _turned(subject.examples(kind), len(IDS)), strict=True))
        for suffix in card.suffixes:
            path = folder / f"{kind}-all{suffix}"
            records = {id: writer.pack(payload) for id, payload in payloads.items()}
            wrong = [id for id, record in records.items() if not isinstance(record, bytes)]
            if wrong:
                raise PromiseError(f"pack() of '{card.name}' gives a {type(records[wrong[0]]).__name__}, not bytes.")
            try:
                with quiet():
                    writer.collect(iter(records.items()), path)
            except MissingDependencyError as error:
                raise CannotCheckError(str(error)) from None
            _check_entries(subject, path, payloads, kind=kind)


@check(of="format")
def entries_are_read_by_key(subject: CardSubject, folder: Path) -> None:
    """A format of `many` entries lists a file's keys, each once, and reads each; another key is an `InputError`."""
    card, writer = _format(subject)
    if not card.many:
        return
    for kind in card.reads:
        path = folder / f"{kind}-one{card.suffixes[0]}"
        if _written(subject, writer, kind=kind, path=path, card=card) is None:
            own = subject.own("many_file", folder)
            if own is None:
                raise CannotCheckError(
                    f"'{card.name}' writes no {kind}; give many_file(card, folder) in tests/examples.py"
                )
            path = Path(own)
        keys = [*writer.index(path)]
        if not keys or len(set(keys)) != len(keys) or not all(isinstance(key, str) for key in keys):
            raise PromiseError(
                f"index() of '{card.name}' gives {keys[:5]} for {path.name}: it must be keys, each once."
            )
        for key in keys:
            with quiet():
                entry = _read(subject, path, kind=kind, key=key)
            if getattr(entry, "kind", None) != kind:
                raise PromiseError(f"The entry '{key}' of {path.name} is no {kind}.")
        refusal(
            lambda path=path, kind=kind: _read(subject, path, kind=kind, key="omlab-testkit"),  # type: ignore[misc]
            what=f"An unknown key of {path.name}, read as '{card.name}',",
            wanted=InputError,
        )


def _check_entries(subject: CardSubject, path: Path, payloads: dict[str, Any], *, kind: str) -> None:
    card, reader = _format(subject)
    if kind not in card.reads:
        return
    if card.many and list(reader.index(path)) != list(payloads):
        raise PromiseError(
            f"index() of '{card.name}' gives {list(reader.index(path))}, collected were {list(payloads)}."
        )
    for id, payload in payloads.items():
        with quiet():
            again = _read(subject, path, kind=kind, key=id)
        _check_kept(again, payload, what=f"'{card.name}' does not keep the {kind} of case '{id}' in {path.name}")


def _check_kept(got: Any, wanted: Any, *, what: str) -> None:
    """Raise where a payload read back differs; of one with array and affine, these two are what must be kept."""
    problem = ""
    if getattr(got, "kind", None) == wanted.kind and keeps(got, Lazy) and keeps(wanted, Lazy):
        got, wanted = got.loaded(), wanted.loaded()
    if getattr(got, "kind", None) != wanted.kind:
        problem = f"it comes back as {getattr(got, 'kind', type(got).__name__)}"
    elif all(hasattr(wanted, name) for name in _GEOMETRY):
        if not got.same_grid(wanted):
            problem = "it comes back on another grid"
        else:
            problem = difference(got.array, wanted.array, tolerance=STORED, where="the array")
    else:
        passed_over = frozenset({"source", "name", "digest"})
        problem = difference(got, wanted, tolerance=STORED, ignore=passed_over, where="the payload")
    if problem:
        raise PromiseError(f"{what}: {problem}.")


def _read(subject: CardSubject, path: Path, *, kind: str, **more: Any) -> Any:
    card, reader = _format(subject)
    chosen = complete(card.settings, {}, of=f"the format '{card.name}'")
    return reader.read(path, kind=kind, **chosen, **more)


def _written(
    subject: CardSubject, writer: Any, *, kind: str, path: Path, card: FormatCard, number: int = 0
) -> Path | None:
    """Write an example; None where the format does not write it, or refuses it (one must refer to its source, say)."""
    if kind not in card.writes:
        return None
    payload = subject.examples(kind)[number]
    before = fingerprint(payload)
    try:
        with quiet():
            writer.write(payload, path, inputs={})
    except MissingDependencyError as error:
        raise CannotCheckError(str(error)) from None
    except OmlabError:
        if path.exists():
            raise PromiseError(f"'{subject.name}' refuses to write {path.name}, but leaves something there.") from None
        return None
    if not path.exists():
        raise PromiseError(f"'{subject.name}' says that it has written {path.name}, but has not.")
    if fingerprint(payload) != before:
        raise PromiseError(f"'{subject.name}' changes the payload that it writes.")
    return path


def _turned(payloads: Sequence[Any], count: int) -> list[Any]:
    return [payloads[number % len(payloads)] for number in range(count)]


def _format(subject: CardSubject) -> tuple[FormatCard, Any]:
    return cast(FormatCard, subject.card), subject.entry()
