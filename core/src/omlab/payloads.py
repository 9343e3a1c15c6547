"""Payloads: what models take and give, and what core asks of them. Packages define them; core knows only `kind`.

Everything but `kind` is optional: a payload that has a method promises what is said of it here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeGuard, TypeVar, runtime_checkable

from omlab.errors import UsageError

P = TypeVar("P")


@runtime_checkable
class Payload(Protocol):
    """What a model takes or gives: a volume, an image, a label map, a text.

    ```python
    from dataclasses import dataclass
    from typing import ClassVar
    from omlab import Payload

    @dataclass(frozen=True)
    class Words:
        kind: ClassVar[str] = "words"
        text: str

    assert isinstance(Words("lungs clear"), Payload)
    ```

    `kind` is the word that cards use for it.
    """

    kind: ClassVar[str]


Inputs = Mapping[str, Payload]
"""The inputs of one case by name, as the verb's card names them."""


@runtime_checkable
class Spatial(Protocol):
    """A payload that lies on a lattice; `grid` in a verb's card promises the same one."""

    def same_grid(self, other: Any) -> bool:
        """Whether shape, affine and orientation are those of `other`."""
        ...


@runtime_checkable
class Framed(Protocol):
    """A payload that lies in physical space, on whatever lattice; `frame` in a verb's card promises the same space."""

    def same_frame(self, other: Any) -> bool:
        """Whether positions in it mean the same as in `other`."""
        ...


@runtime_checkable
class Compound(Protocol):
    """A payload of several parts, each a payload: a warped image and its transform.

    Each part is written as `<id>.<part><suffix>`.
    """

    def parts(self) -> Mapping[str, Payload]:
        """The parts by name."""
        ...


@runtime_checkable
class Facetted(Protocol):
    """A payload of one of several sorts at once: prompts that are points, boxes, masks, text. `accepts` names them."""

    def facets(self) -> frozenset[str]:
        """The sorts that it has."""
        ...


@runtime_checkable
class Dependent(Protocol):
    """A payload that means something only with another input: voxels of an image."""

    def check_belongs(self, inputs: Inputs) -> None:
        """Raise `GeometryError` or `InputError` where it does not belong to the other inputs of its case."""
        ...


@runtime_checkable
class Sized(Protocol):
    """A payload that says how much memory it holds: it bounds how far is read ahead."""

    @property
    def nbytes(self) -> int:
        """Bytes."""
        ...


@runtime_checkable
class Referring(Protocol):
    """A payload that names files which a model may read: a chat that shows pictures. Where one changes, so has it."""

    def referred(self) -> Sequence[Path]:
        """Those of them that are meant to lie on this machine."""
        ...


@runtime_checkable
class Lazy(Protocol):
    """A payload that is read, or computed, in parts: it may be larger than the memory."""

    def loaded(self) -> Any:
        """The same whole and in memory, as the payload that it then is."""
        ...


@runtime_checkable
class Checked(Protocol):
    """A payload of numbers."""

    def is_finite(self) -> bool:
        """Whether no number in it is NaN or infinite."""
        ...


@runtime_checkable
class Stackable(Protocol):
    """A payload that several files make up: channels."""

    @classmethod
    def stack(cls, payloads: Any) -> Any:
        """One payload of the channels of several. Raises `GeometryError` where they do not fit."""
        ...


@runtime_checkable
class Labelled(Protocol):
    """A target of classes: what episodes, surveys and verification count by."""

    def present(self) -> Mapping[int, str]:
        """The classes that occur in it: value to name; never 0 where that means no class."""
        ...


@runtime_checkable
class Named(Protocol):
    """A target whose file does not name its classes, so that a data set does."""

    def named(self, names: Mapping[int, str]) -> Any:
        """The same with these names for its values."""
        ...


@runtime_checkable
class Pictured(Protocol):
    """A result that can be looked at over its input."""

    def overlay(self, inputs: Inputs, *, target: Payload | None = None) -> bytes:
        """A PNG of the input that it lies on with this result, and the outline of `target`, drawn over it.

        What else is among the inputs and can be marked (prompts) is marked.
        """
        ...


@runtime_checkable
class Told(Protocol):
    """A result that is small enough to be said in a line, which commands show when a run ends."""

    def in_words(self) -> str:
        """The line, such as the most probable classes."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A result that tells more of itself than its file holds: how sure its parts are, what was doubtful."""

    def tells(self) -> Mapping[str, Any]:
        """What it tells (JSON; empty: nothing): `values` of its case in the log, and `<id>.json` beside its file."""
        ...

    def telling(self, facts: Mapping[str, Any]) -> Any:
        """The same result that tells this."""
        ...


@runtime_checkable
class Viewable(Protocol):
    """An input that can be looked at by itself, small: an image, a slice of a volume."""

    def thumbnail(self, *, size: int) -> bytes:
        """A PNG in true proportions whose longer side has `size` pixels at most."""
        ...


def keeps(value: object, protocol: Callable[..., P]) -> TypeGuard[P]:
    """Whether the class of a value has the methods of a protocol: what `isinstance` says, but asked once a class.

    It is asked some ten times a case, and Python takes longer for it than for all else that a session checks.
    """
    kind: Any = type(value)
    return _keeps(kind, protocol)


@cache
def _keeps(kind: type, protocol: Any) -> bool:
    return issubclass(kind, protocol)


def take(inputs: Inputs, name: str, kind: type[P]) -> P:
    """The input of that name, as the class that is wanted.

    Raises `UsageError` where it is not there or of another class.
    """
    if name not in inputs:
        raise UsageError(f"There is no input '{name}'; given were {', '.join(inputs) or 'none'}.")
    found = inputs[name]
    if not isinstance(found, kind):
        wanted = getattr(kind, "kind", kind.__name__)
        raise UsageError(f"The input '{name}' is {an(describe(found))}, but {an(wanted)} is needed.")
    return found


def describe(value: object) -> str:
    """A payload as messages call it: by its kind, anything else by its type."""
    found = getattr(type(value), "kind", None)
    return found if isinstance(found, str) else type(value).__name__


def an(kind: str) -> str:
    """A kind with its article, as messages have it."""
    return f"{'an' if kind[:1] in 'aeio' else 'a'} {kind}"


def nbytes(value: object) -> int:
    """Bytes that a payload, or the inputs of a case, hold as far as they say so."""
    if isinstance(value, Mapping):
        return sum(nbytes(part) for part in value.values())
    held = getattr(value, "nbytes", 0)  # asked some ten times a case: isinstance of a protocol is far slower
    return held if isinstance(held, int) else 0
