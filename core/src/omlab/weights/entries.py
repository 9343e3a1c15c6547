"""What the installed models publish: one entry a file, repository or endpoint, whatever is to be done with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omlab.errors import CardError, UsageError
from omlab.weights import cache, snapshot, sources
from omlab.weights.resolve import offered

if TYPE_CHECKING:
    from omlab.card_schema import ModelCard, WeightsFile
    from omlab.cards import Card


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One published thing of one model: a `file`, a `repository` or an `endpoint`."""

    model: str
    tag: str
    licence: str
    file: WeightsFile | None = None
    repository: str | None = None
    endpoint: str | None = None

    @property
    def name(self) -> str:
        """`MODEL.TAG`."""
        return f"{self.model}.{self.tag}"

    @property
    def kind(self) -> str:
        """`file`, `repository` or `endpoint`."""
        return "file" if self.file is not None else "repository" if self.repository is not None else "endpoint"

    @property
    def what(self) -> str:
        """The name of the file or repository; of an endpoint its address."""
        if self.file is not None:
            return self.file.name
        if self.repository is not None:
            return sources.parse_repository(self.repository).repository
        return str(self.endpoint)

    @property
    def url(self) -> str:
        """Where it is published."""
        return self.file.url if self.file is not None else str(self.repository or self.endpoint)

    def place(self) -> Path:
        """Where it lies, or would lie, on this machine. Raises `UsageError` for an endpoint."""
        if self.file is not None:
            return cache.place(self.file)
        return snapshot.place(self._folder())

    def cached(self) -> Path | None:
        """Its path where it is on this machine, whole as far as sizes tell."""
        if self.file is not None:
            return cache.cached(self.file)
        found = snapshot.cached(self.repository) if self.repository is not None else None
        return found.folder if found else None

    def size(self) -> int | None:
        """Bytes: on this machine, else as the card says them exactly."""
        found = self.cached()
        if found is None:
            return self.file.size if self.file is not None else None
        return (
            sum(path.stat().st_size for _, path in snapshot.members(found)) if found.is_dir() else found.stat().st_size
        )

    def fetch(self) -> Path:
        """Its path, fetched if need be. Raises `DownloadError`, `WeightsError` or `UsageError`."""
        return cache.fetch(self.file) if self.file is not None else snapshot.fetch(self._folder()).folder

    def verify(self) -> None:
        """Read it through. Raises `WeightsError` where it is not what was published or recorded."""
        if self.file is not None:
            cache.verify(cache.place(self.file), self.file)
        else:
            snapshot.verify(self._folder())

    def remove(self) -> int:
        """Take it out of the cache; gives the bytes freed. Raises `WeightsError` for a file of the user's."""
        if self.file is not None:
            return cache.remove(self.file)
        return cache.remove_folder(snapshot.place(self._folder()).parent)

    def _folder(self) -> str:
        if self.repository is None:
            raise UsageError(f"{self.name} answers at {self.endpoint}: there is nothing on this machine.")
        return self.repository


def every() -> tuple[list[Entry], list[str]]:
    """The entries of all model cards, and one sentence for each card that is wrong."""
    from omlab.registry import registry

    found: list[Entry] = []
    broken: list[str] = []
    for card in registry().cards("model"):
        try:
            found += _of(card)
        except CardError as error:
            broken.append(str(error))
    return found, broken


def named(name: str) -> list[Entry]:
    """The entries of `MODEL` (all its tags) or `MODEL.TAG`.

    Raises:
        UnknownNameError: No such model, or it has no such tag.
        UsageError: It offers no weights.
    """
    from omlab.registry import registry

    model, _, tag = name.partition(".")
    card = registry().get("model", model)
    if tag:
        offered(_complete(card), tag)
    found = [entry for entry in _of(card) if tag in ("", entry.tag)]
    if not found:
        raise UsageError(f"Model '{model}' offers no weights.")
    return found


def on_this_machine(name: str) -> list[Entry]:
    """As `named`, but what can be kept on a machine; raises `UsageError` where that is nothing."""
    found = named(name)
    kept = [entry for entry in found if entry.endpoint is None]
    if not kept:
        raise UsageError(f"{found[0].name} answers at {found[0].endpoint}: there is nothing to fetch.")
    return kept


def with_needs(names: Iterable[str]) -> list[Entry]:
    """The entries of several names, each once, with the weights that their models' needs are loaded with."""
    from omlab.registry import registry

    found: dict[tuple[str, str], Entry] = {}
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        for entry in on_this_machine(name):
            found.setdefault((entry.name, entry.what), entry)
        for need in _complete(registry().get("model", name.partition(".")[0])).needed.values():
            needed = _complete(registry().get("model", need.partition(".")[0]))
            tag = need.partition(".")[2] or needed.default_weights
            if tag in needed.weights and needed.weights[tag].endpoint is None:
                waiting.append(f"{needed.name}.{tag}")
    return list(found.values())


def _of(card: Card) -> Iterator[Entry]:
    complete = _complete(card)
    for tag in complete.weights:
        weights = offered(complete, tag)
        one = Entry(model=card.name, tag=tag, licence=weights.licence)
        if weights.repository is not None or weights.endpoint is not None:
            yield replace(one, repository=weights.repository, endpoint=weights.endpoint)
        for file in weights.files:
            yield replace(one, file=file)


def _complete(card: Card) -> ModelCard:
    from omlab.card_schema import ModelCard, validate

    complete = validate(card)
    assert isinstance(complete, ModelCard)
    return complete
