"""Reading paths into payloads and writing payloads to paths, through the formats of all plugins."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from omlab.arguments import path_of
from omlab.card_schema import FormatCard, validate
from omlab.errors import CardError, InputError, OmlabWarning, OutputError, UsageError
from omlab.files import replacing, writing
from omlab.payloads import Compound, Inputs, Payload, an, describe, keeps
from omlab.registry import Registry, load_entry, registry
from omlab.roles import Format
from omlab.settings import complete


def format_cards() -> Sequence[FormatCard]:
    """The cards of all formats; one that is wrong is warned about and left out.

    Of several with one suffix the likelier comes first: the default for more kinds, then one that reads what it writes.
    """
    return _cards(registry())


@cache
def _cards(catalogue: Registry) -> tuple[FormatCard, ...]:
    """Validated once for each registry: formats are looked up for every case."""
    found = []
    for offer in catalogue.cards("format"):
        try:
            found.append(cast(FormatCard, validate(offer)))
        except CardError as error:  # files of other formats can be read all the same
            warnings.warn(f"{error} The format is left out.", OmlabWarning, stacklevel=2)
    return tuple(sorted(found, key=lambda card: (-len(card.default_for), not card.reads, card.name)))


def implementation(card: FormatCard) -> Format:
    """The format behind a card."""
    return _implementation(registry(), card.name)


@cache
def _implementation(catalogue: Registry, name: str) -> Format:
    offer = catalogue.get("format", name)
    return cast(Format, load_entry(offer, cast(FormatCard, validate(offer)).entry)())


def suffix_of(path: Path, cards: Iterable[FormatCard]) -> str:
    """The longest suffix of `path` that one of the formats has; empty when none has one."""
    name = path.name.lower()
    found = [suffix for card in cards for suffix in card.suffixes if name.endswith(suffix)]
    return max(found, key=len, default="")


def read_format(path: Path, kind: str) -> FormatCard:
    """The format that reads `path` as a payload of `kind`. Raises `InputError` where there is none."""
    check_readable(path)
    cards = [card for card in format_cards() if kind in card.reads]
    found = _readers(path, cards)
    if not found:
        raise InputError(_no_reader(path, kind, cards))
    return found[0]


def check_readable(path: Path) -> None:
    """Raise `InputError` where there is neither a file nor a folder: reading a pipe would wait for ever."""
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is neither a file nor a folder: write what it gives to a file first.")


def kinds_of(path: Path) -> Sequence[str]:
    """The kinds that installed formats read `path` as, the likeliest first. Raises `InputError` where there is none."""
    check_readable(path)
    cards = [card for card in format_cards() if card.reads]
    found = _readers(path, cards)
    if not found:
        raise InputError(_no_reader(path, "payload", cards))
    return list(dict.fromkeys(kind for card in found for kind in card.reads))


def read(path: str | Path, *, kind: str | None = None, **settings: Any) -> Payload:
    """Read a file or folder as a payload.

    Args:
        path: The file or folder.
        kind: Such as "volume"; by default the first that the format has.
        settings: Of the format's card, such as `series` of DICOM.

    Raises:
        InputError: It cannot be read; names the file.
        SettingsError: The format has no such setting.
    """
    path = path_of(path, "What is read")
    if kind is None:
        kind = kinds_of(path)[0]
    return read_as(read_format(path, kind), path, kind=kind, settings=settings)


def read_as(card: FormatCard, path: Path, *, kind: str, settings: Mapping[str, Any], key: str | None = None) -> Payload:
    """Read `path`, or the entry `key` of it, in the format of `card`, with `settings` of it.

    Raises `InputError` or `SettingsError`.
    """
    chosen = complete(card.settings, settings, of=f"the format '{card.name}'")
    if key is not None:
        chosen["key"] = key
    return implementation(card).read(path, kind=kind, **chosen)


def write(payload: Payload, path: str | Path, *, inputs: Inputs | None = None) -> None:
    """Write a payload; the format is that of the path's suffix. Nothing partial is ever left there.

    `inputs` are those that it was made from, where a format refers to them. Of a compound payload each part is
    written as `<name>.<part><suffix>`.

    Raises `OutputError` where no format writes such a payload or the place cannot be written to.
    """
    path = path_of(path, "What is written to")
    if not isinstance(payload, Payload):
        raise UsageError(f"{an(describe(payload)).capitalize()} is not a payload: it cannot be written.")
    if keeps(payload, Compound):
        suffix = suffix_of(path, format_cards()) or path.suffix
        for part, value in payload.parts().items():
            write(value, path.with_name(f"{path.name.removesuffix(suffix)}.{part}{suffix}"), inputs=inputs)
        return
    card = write_format(payload.kind, path)
    with writing(f"The {payload.kind}", path), replacing(path) as temporary:
        write_as(card, payload, temporary, inputs=inputs or {})


def write_format(kind: str, path: Path) -> FormatCard:
    """The format that writes payloads of `kind` to files named so. Raises `OutputError` where there is none."""
    cards = [card for card in format_cards() if kind in card.writes]
    suffix = suffix_of(path, cards)
    found = [card for card in cards if suffix in card.suffixes]
    if not found:
        known = ", ".join(sorted({s for card in cards for s in card.suffixes})) or "none installed"
        raise OutputError(f"No format writes {an(kind)} to {path.name}; suffixes that would do: {known}.")
    return found[0]


def write_as(card: FormatCard, payload: Payload, path: Path, *, inputs: Inputs) -> None:
    """Write a payload in the format of `card` to a path that does not exist yet."""
    implementation(card).write(payload, path, inputs=inputs)


def default_format(kind: str) -> FormatCard:
    """The format that payloads of `kind` are written in when the user names none. Raises `UsageError`."""
    cards = [card for card in format_cards() if kind in card.default_for and kind in card.writes]
    if not cards:
        raise UsageError(f"No installed format writes {an(kind)}; install the package of its modality.")
    return cards[0]


def named_format(name: str, kind: str) -> FormatCard:
    """The format of that name, which must write `kind`. Raises `UnknownNameError` or `UsageError`."""
    card = cast(FormatCard, validate(registry().get("format", name)))
    if kind not in card.writes:
        raise UsageError(
            f"The format '{name}' does not write {an(kind)}; it writes {', '.join(card.writes) or 'nothing'}."
        )
    return card


def overlay_format(path: Path, kind: str) -> FormatCard | None:
    """The format, told by the suffix, that draws payloads of `kind` over their input into a file of its own."""
    found = [card for card in format_cards() if kind in card.overlays]
    suffix = suffix_of(path, found)
    return next((card for card in found if suffix and suffix in card.suffixes), None)


def companions(source: FormatCard, kind: str) -> list[FormatCard]:
    """Formats that a prediction of `kind` is also written in when its input was read as `source`."""
    return [card for card in format_cards() if source.name in card.beside and kind in card.writes]


def _readers(path: Path, cards: Sequence[FormatCard]) -> list[FormatCard]:
    """Those of the formats that read `path`: by its suffix, else by how it begins; of a folder by what it holds.

    Formats of folders of such files come after those of the files themselves.
    """
    if path.is_dir():
        cards = [card for card in cards if card.folders]
        suffix = suffix_of(path, cards)
        named = [card for card in cards if suffix and suffix in card.suffixes]
        return named or (sorted(cards, key=lambda card: not _holds(path, card)) if len(cards) > 1 else cards)
    suffix = suffix_of(path, cards)
    found = [card for card in cards if suffix in card.suffixes] or [card for card in cards if _has_magic(path, card)]
    return sorted(found, key=lambda card: card.folders == "only")


def is_read(path: Path, cards: Sequence[FormatCard]) -> bool:
    """Whether a file is of one of the formats: by its suffix, or by how it begins."""
    return bool(_readers(path, cards))


def _holds(folder: Path, card: FormatCard) -> bool:
    """Whether a folder holds a file with a suffix of the format."""
    try:
        return any(suffix_of(child, [card]) for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}.") from error


def _has_magic(path: Path, card: FormatCard) -> bool:
    if not card.magic:
        return False
    try:
        with path.open("rb") as stream:
            stream.seek(card.magic_offset)
            return stream.read(len(card.magic)) == card.magic.encode()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _no_reader(path: Path, kind: str, cards: list[FormatCard]) -> str:
    known = ", ".join(sorted({suffix for card in cards for suffix in card.suffixes}))
    others = [card for card in format_cards() if suffix_of(path, [card]) and card.reads and not path.is_dir()]
    if others:
        return f"{path} is read as {' or '.join(others[0].reads)}, but {an(kind)} is needed ({known})."
    return f"No installed format reads {path} as {an(kind)}; formats that would do: {known or 'none installed'}."
