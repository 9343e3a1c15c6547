"""Settings of models, data sets, adapters and evaluators: declared in cards, given as `name=value`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from omlab.errors import SettingsError

if TYPE_CHECKING:
    from omlab.card_schema import BaseCard, Setting

_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


def parse_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """`["step=0.5", "mirror=no"]` as a dict. Raises `SettingsError` for a pair without '='."""
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise SettingsError(f"'{pair}' is not a setting: write name=value.")
        parsed[name.strip()] = value.strip()
    return parsed


def complete(card: BaseCard, given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a card: the given ones, checked and converted, and the defaults of the others.

    Raises `SettingsError` for an unknown name, a value of another type or outside the bounds.
    """
    unknown = sorted(set(given) - set(card.settings))
    if unknown:
        known = ", ".join(sorted(card.settings)) or "none"
        raise SettingsError(f"'{card.name}' has no setting '{unknown[0]}'; its settings are: {known}.")
    return {
        name: convert(setting, given[name], where=f"setting '{name}' of '{card.name}'")
        if name in given
        else setting.default
        for name, setting in card.settings.items()
    }


def convert(setting: Setting, value: Any, *, where: str) -> Any:
    """`value` (text from the command line, or a value from Python) as the setting's type."""
    converted = _CONVERTERS[setting.type](value, where)
    if setting.choices is not None and converted not in setting.choices:
        raise SettingsError(f"{where} is {value!r}, but must be one of {', '.join(map(str, setting.choices))}.")
    if setting.type in ("int", "float"):
        if setting.minimum is not None and converted < setting.minimum:
            raise SettingsError(f"{where} is {value}, but must be at least {setting.minimum:g}.")
        if setting.maximum is not None and converted > setting.maximum:
            raise SettingsError(f"{where} is {value}, but must be at most {setting.maximum:g}.")
    return converted


def _bool(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        raise SettingsError(f"{where} is {value!r}, but must be true or false.")
    return text in _TRUE


def _int(value: Any, where: str) -> int:
    try:
        return int(str(value)) if not isinstance(value, bool) else int("not a number")
    except ValueError:
        raise SettingsError(f"{where} is {value!r}, but must be a whole number.") from None


def _float(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SettingsError(f"{where} is {value!r}, but must be a number.") from None


def _str(value: Any, where: str) -> str:
    return str(value)


def _list(value: Any, where: str) -> list[Any]:
    if isinstance(value, str):
        return [_scalar(part) for part in value.strip("[]").split(",") if part.strip()]
    try:
        return list(value)
    except TypeError:
        raise SettingsError(f"{where} is {value!r}, but must be a list such as 1,2,3.") from None


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text.strip()


_CONVERTERS: dict[str, Callable[[Any, str], Any]] = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": _str,
    "list": _list,
}
