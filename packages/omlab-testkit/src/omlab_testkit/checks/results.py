"""Checks of what becomes of results: they can be written, and looked at where their card says so."""

from __future__ import annotations

from pathlib import Path

from omlab.errors import MissingDependencyError, OmlabError
from omlab.formats import default_format, format_cards, implementation
from omlab.payloads import Pictured
from omlab_testkit.checks import check
from omlab_testkit.checks.verbs import parts_of
from omlab_testkit.loading import quiet
from omlab_testkit.outcome import CannotCheckError, PromiseError
from omlab_testkit.subjects import VerbSubject

_PNG = b"\x89PNG\r\n\x1a\n"


@check(of="verb", together=True)
def result_can_be_written(subject: VerbSubject, folder: Path) -> None:
    """What a verb gives, or each part of it, has a default format, which writes or collects the examples."""
    for index, case in enumerate(subject.cases):
        for name, part in parts_of(subject.result(index)).items():
            try:
                card = default_format(part.kind)
                path = folder / f"{index}{name}{max(card.suffixes, key=len)}"
                writer = implementation(card)
                with quiet():
                    if part.kind in card.collects:
                        writer.collect([(f"{index}", writer.pack(part))], path)  # type: ignore[attr-defined]
                    else:
                        writer.write(part, path, inputs=case)
            except MissingDependencyError as error:
                raise CannotCheckError(str(error)) from None
            except OmlabError as error:
                raise PromiseError(
                    f"What {subject.what} gives for example {index} cannot be written: {error}"
                ) from None
            if not path.exists():
                raise PromiseError(f"'{card.name}' says that it has written {path.name}, but has not.")


@check(of="verb", together=True)
def result_has_a_picture(subject: VerbSubject, folder: Path) -> None:
    """A result whose kind a format card calls pictured draws itself over its inputs as a PNG, the same each time."""
    pictured = {kind for card in format_cards() for kind in card.pictured}
    for part in parts_of(subject.result(0)).values():
        kind = part.kind
        if kind not in pictured:
            continue
        if not isinstance(part, Pictured):
            raise PromiseError(f"A {kind} is pictured by a format's card, but that of {subject.what} has no overlay().")
        picture = part.overlay(subject.cases[0])
        if not picture.startswith(_PNG):
            raise PromiseError(f"The overlay of a {kind} is no PNG: it begins with {picture[:8]!r}.")
        if part.overlay(subject.cases[0]) != picture:
            raise PromiseError(f"The overlay of a {kind} is another one each time.")
