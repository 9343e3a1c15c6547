"""Data sets of a file of JSON lines that is read whole: one split, `test`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from omlab import About, Sample
from omlab.digests import digest_of
from omlab.errors import InputError, UsageError
from omlab.json_lines import read_json_lines
from omlab.payloads import Inputs, Payload
from omlab_text.rows import id_of

SPLIT = "test"
Make = Callable[[Mapping[str, Any], str], Sequence["LineCase"]]
"""The cases of a row that is called so."""


@dataclass(frozen=True, kw_only=True)
class LineCase:
    """A case of a row (`omlab.roles.Case`), read already."""

    id: str
    inputs: Inputs
    target: Payload
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def load(self) -> Sample:
        """The sample."""
        return Sample(id=self.id, inputs=self.inputs, target=self.target, group=self.group, meta=self.meta)


class LineData:
    """The rows of a file as cases (`omlab.roles.Dataset`).

    Args:
        path: The file.
        make: What a row becomes. It may raise `InputError`, to which file and line are added.
        kinds: Of the inputs.
        target: Kind of the targets.
        task: Of the data.
    """

    def __init__(self, path: Path, make: Make, *, kinds: Mapping[str, str], target: str, task: str) -> None:
        self.path, self.make, self.kinds, self.target, self.task = path, make, kinds, target, task

    def splits(self) -> Sequence[str]:
        """`test`."""
        return (SPLIT,)

    def prepare(self) -> None:
        """Read the file. Raises `InputError` that names the line and the field that is wrong."""
        self._cases  # noqa: B018 - read now, so that what is wrong is said before a model is loaded

    def about(self, split: str) -> About:
        """Kinds and numbers."""
        cases = self.cases(split)
        groups = len({case.group or case.id for case in cases})
        return About(inputs=self.kinds, target=self.target, task=self.task, groups=groups, cases=len(cases))

    def digest(self, split: str) -> str:
        """Of all that the cases hold."""
        return digest_of(
            [
                [case.id, _values(case.inputs), _value(case.target), case.group, dict(case.meta)]
                for case in self.cases(split)
            ]
        )

    def cases(self, split: str) -> Sequence[LineCase]:
        """The cases in the file's order. Raises `UsageError` for another split."""
        if split != SPLIT:
            raise UsageError(f"{self.path} has no split '{split}', only '{SPLIT}'.")
        return self._cases

    def verify(self) -> Sequence[str]:
        """What is wrong with the file, which is read again."""
        try:
            list(self._read())
        except InputError as error:
            return [str(error)]
        return []

    @cached_property
    def _cases(self) -> Sequence[LineCase]:
        return list(self._read())

    def _read(self) -> Iterator[LineCase]:
        lines: dict[str, int] = {}
        for number, row in read_json_lines(self.path):
            where = f"{self.path}, line {number}"
            try:
                id = id_of(row) or f"{number:06d}"
                found = self.make(row, id)
            except InputError as error:
                raise InputError(f"{where} cannot be used: {error}") from None
            if id in lines:
                raise InputError(f"{where}: the id '{id}' is that of line {lines[id]} already.")
            lines[id] = number
            yield from found
        if not lines:
            raise InputError(f"{self.path} holds no row.")


def text_in(row: Mapping[str, Any], name: str) -> str | None:
    """A text in a row; None where it is not there. Raises `InputError` where it is no text, or empty."""
    found = row.get(name)
    if found is not None and (not isinstance(found, str) or not found.strip()):
        raise InputError(f"{name}: it must be a text that is not empty.")
    return found


def _values(inputs: Inputs) -> dict[str, Any]:
    return {name: _value(payload) for name, payload in inputs.items()}


def _value(payload: Payload) -> Any:
    return payload.to_value()  # type: ignore[attr-defined]  # every kind of texts has it
