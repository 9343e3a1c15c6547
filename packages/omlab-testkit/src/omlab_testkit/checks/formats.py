"""Checks of formats: what is written can be read again, what cannot be read is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import FormatCard
from omlab.errors import MissingDependencyError, OmlabError, OmlabWarning
from omlab_testkit.checks import check
from omlab_testkit.checks.errors import refusal
from omlab_testkit.compare import Tolerance, difference, fingerprint
from omlab_testkit.kit import CardSubject
from omlab_testkit.outcome import CannotCheckError, PromiseError

STORED = Tolerance(relative=1e-5)
"""What storing float32 or float64 numbers may change."""
_GEOMETRY = ("array", "affine")


@check(of="format")
def bad_files_are_refused(subject: CardSubject, folder: Path) -> None:
    """An absent, empty, cut off or renamed text file and an empty folder are `OmlabError`s that name the path."""
    card, reader = _format(subject)
    for kind in card.reads:
        for path, what in _bad_paths(subject, card, reader, kind=kind, folder=folder):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OmlabWarning)
                said = refusal(
                    lambda path=path, kind=kind: reader.read(path, kind=kind),  # type: ignore[misc]
                    what=f"{what} read as '{card.name}' ({path.name})",
                )
            if path.name not in said:
                raise PromiseError(f"'{card.name}' refuses {what} without naming {path.name}: {said}")


def _bad_paths(
    subject: CardSubject, card: FormatCard, reader: Any, *, kind: str, folder: Path
) -> Iterator[tuple[Path, str]]:
    for suffix in card.suffixes:
        stem = f"{kind}-{suffix.replace('.', '')}"
        yield folder / f"{stem}-absent{suffix}", "an absent file"
        for what, content in {"an empty file": b"", "a text file": b"patient: unknown\n" * 100}.items():
            path = folder / f"{stem}-{what.split()[1]}{suffix}"
            path.write_bytes(content)
            yield path, what
        whole = (
            _written(subject, reader, kind=kind, path=folder / f"{stem}-whole{suffix}") if kind in card.writes else None
        )
        if whole is not None and whole.is_file():
            path = folder / f"{stem}-cut{suffix}"
            path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
            yield path, "a file that is cut off"
    if card.folders:
        empty = folder / f"{kind}-empty-folder"
        empty.mkdir()
        yield empty, "an empty folder"


@check(of="format")
def what_is_written_can_be_read(subject: CardSubject, folder: Path) -> None:
    """Reading what was written gives the same array on the same grid, for every suffix; the payload is not changed."""
    card, reader = _format(subject)
    for kind in sorted(set(card.reads) & set(card.writes)):
        for number, payload in enumerate(subject.examples(kind)):
            for suffix in card.suffixes or [""]:
                path = folder / f"{kind}-{number}{suffix}"
                if _written(subject, reader, kind=kind, path=path, number=number) is None:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", OmlabWarning)
                    again = reader.read(path, kind=kind)
                problem = _kept(again, payload)
                if problem:
                    raise PromiseError(
                        f"'{card.name}' does not keep {kind} example {number} in {path.name}: {problem}."
                    )


def _kept(got: Any, wanted: Any) -> str:
    """Where a payload read back differs; of one with array and affine, these two are what must be kept."""
    if getattr(got, "kind", None) != wanted.kind:
        return f"it comes back as {getattr(got, 'kind', type(got).__name__)}"
    if all(hasattr(wanted, name) for name in _GEOMETRY):
        if not got.same_grid(wanted):
            return "it comes back on another grid"
        return difference(got.array, wanted.array, tolerance=STORED, where="the array")
    return difference(got, wanted, tolerance=STORED, ignore=frozenset({"source"}), where="the payload")


def _written(subject: CardSubject, writer: Any, *, kind: str, path: Path, number: int = 0) -> Path | None:
    """Write an example; None where the format refuses it (one that must refer to its source, say)."""
    payload = subject.examples(kind)[number]
    before = fingerprint(payload)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OmlabWarning)
            writer.write(payload, path)
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


def _format(subject: CardSubject) -> tuple[FormatCard, Any]:
    return cast(FormatCard, subject.card), subject.entry()
