"""Reading paths into payloads and writing payloads to paths, through the formats of all plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from omlab.card_schema import FormatCard, validate
from omlab.errors import InputError, OutputError, UsageError
from omlab.files import replacing, writing
from omlab.registry import load_entry, registry
from omlab.roles import Format, Payload
from omlab.settings import complete


def format_cards() -> list[FormatCard]:
    """The cards of all formats. Raises `CardError` for one that is wrong."""
    return [cast(FormatCard, validate(card)) for card in registry().cards("format")]


def implementation(card: FormatCard) -> Format:
    """The format behind a card."""
    return cast(Format, load_entry(registry().get("format", card.name), card.entry)())


def suffix_of(path: Path, cards: Iterable[FormatCard]) -> str:
    """The longest suffix of `path` that one of the formats has; empty when none has one."""
    name = path.name.lower()
    found = [suffix for card in cards for suffix in card.suffixes if name.endswith(suffix)]
    return max(found, key=len, default="")


def read_format(path: Path, kind: str) -> FormatCard:
    """The format that reads `path` as a payload of `kind`. Raises `InputError` where there is none."""
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    cards = [card for card in format_cards() if kind in card.reads]
    if path.is_dir():
        found = [card for card in cards if card.folders]
    else:
        suffix = suffix_of(path, cards)
        found = [card for card in cards if suffix in card.suffixes] or [
            card for card in cards if _has_magic(path, card)
        ]
    if not found:
        raise InputError(_no_reader(path, kind, cards))
    return found[0]


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
    path = Path(path)
    if kind is None:
        kind = _default_kind(path)
    return read_as(read_format(path, kind), path, kind=kind, settings=settings)


def read_as(card: FormatCard, path: Path, *, kind: str, settings: Mapping[str, Any]) -> Payload:
    """Read `path` in the format of `card`, with `settings` of it. Raises `InputError` or `SettingsError`."""
    return implementation(card).read(path, kind=kind, **complete(card, settings))


def write(payload: Payload, path: str | Path) -> None:
    """Write a payload; the format is that of the path's suffix. Nothing partial is ever left there.

    Raises `OutputError` where no format writes such a payload or the place cannot be written to.
    """
    path = Path(path)
    cards = [card for card in format_cards() if payload.kind in card.writes]
    suffix = suffix_of(path, cards)
    found = [card for card in cards if suffix in card.suffixes]
    if not found:
        known = ", ".join(sorted({s for card in cards for s in card.suffixes})) or "none installed"
        raise OutputError(f"No format writes a {payload.kind} to {path.name}; suffixes that would do: {known}.")
    with writing(f"The {payload.kind}", path), replacing(path) as temporary:
        implementation(found[0]).write(payload, temporary)


def default_suffix(kind: str) -> str:
    """The suffix that payloads of `kind` are written with when the user names no format."""
    cards = [card for card in format_cards() if kind in card.default_for and kind in card.writes]
    if not cards:
        raise UsageError(f"No installed format writes a {kind}; install the package of its modality.")
    return max(cards[0].suffixes, key=len)


def companions(source: FormatCard, kind: str) -> list[FormatCard]:
    """Formats that a prediction of `kind` is also written in when its input was read as `source`."""
    return [card for card in format_cards() if source.name in card.beside and kind in card.writes]


def cases_in(paths: Iterable[Path], kind: str) -> dict[str, Path]:
    """The cases of the given paths by id: a file is one, a folder is one or holds several.

    Raises `InputError` for a path that does not exist or a folder without anything readable.
    """
    cards = [card for card in format_cards() if kind in card.reads]
    found = [case for path in paths for case in _cases_of(path, kind, cards)]
    ids: dict[str, Path] = {}
    for path in found:
        id = case_id(path, cards)
        if id in ids:
            id = f"{path.absolute().parent.name}-{id}"
        if id in ids:
            raise InputError(f"{path} and {ids[id]} would both be case '{id}'; rename one or predict them apart.")
        ids[id] = path
    return ids


def case_id(path: Path, cards: Iterable[FormatCard]) -> str:
    """The id of a case: the file's name without its suffix, or the folder's name."""
    name = path.absolute().name
    suffix = "" if path.is_dir() else suffix_of(path, cards)
    return name[: len(name) - len(suffix)] or name


def _cases_of(path: Path, kind: str, cards: list[FormatCard]) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if not path.is_dir():
        read_format(path, kind)
        return [path]
    single = {suffix for card in cards if not card.folders for suffix in card.suffixes}
    children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    files = [child for child in children if child.is_file() and child.name.lower().endswith(tuple(single))]
    if files:
        return files
    folders = [child for child in children if child.is_dir()]
    if any(child.is_file() for child in children) and any(card.folders for card in cards):
        return [path]
    if not folders:
        raise InputError(f"The folder {path} is empty: nothing to read as a {kind}.")
    return [case for folder in folders for case in _cases_of(folder, kind, cards)]


def _default_kind(path: Path) -> str:
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    cards = [card for card in format_cards() if card.reads]
    suffix = suffix_of(path, cards)
    for card in cards:
        if card.folders if path.is_dir() else suffix in card.suffixes or _has_magic(path, card):
            return card.reads[0]
    raise InputError(_no_reader(path, "payload", cards))


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
        return f"{path} is read as {' or '.join(others[0].reads)}, but a {kind} is needed ({known})."
    return f"No installed format reads {path} as a {kind}; formats that would do: {known or 'none installed'}."
