"""Settings of models, data sets, adapters and evaluators: declared in cards, given as `name=value`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab.errors import SettingsError
from omlab.suggest import did_you_mean

if TYPE_CHECKING:
    from omlab.card_schema import Setting

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


def complete(settings: Mapping[str, Setting], given: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """All settings: the given ones, checked and converted, and the defaults of the others.

    Args:
        settings: As a card declares them.
        given: Values by name.
        of: Whose they are, for messages, such as `'stunet-base'`.

    Raises `SettingsError` for an unknown name ('did you mean'), a value of another type or outside the bounds.
    """
    for name in given:
        if name not in settings:
            raise SettingsError(f"{of} has no setting '{name}': {did_you_mean(name, settings, none='it has none.')}")
    return {
        name: convert(setting, given[name], where=f"setting '{name}' of {of}") if name in given else setting.default
        for name, setting in settings.items()
    }


def decisive(settings: Mapping[str, Setting], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Of complete settings those that change what comes of the work: what a request and an identity are made of."""
    return {name: value for name, value in chosen.items() if settings[name].affects_result}


def by_home(
    given: Mapping[str, Any],
    homes: Mapping[str, Mapping[str, Setting] | None],
    *,
    plain: Sequence[str],
    own: Collection[str] = (),
) -> dict[str, dict[str, Any]]:
    """Sort given settings by whose they are.

    Args:
        given: Values by name; `model.step` says whose it is, `read.volume.series` for which input.
        homes: The settings of each home; None: not known here, so that only qualified names go there.
        plain: Homes that a name without a dot is looked for in.
        own: Names that are no settings but options of the command: whoever gives one is told so.

    Returns:
        For each home the values given for it, whose names are not yet checked where they were qualified.

    Raises `SettingsError` for a name that is in no home ('did you mean'), or in two.
    """
    found: dict[str, dict[str, Any]] = {home: {} for home in homes}
    for name, value in given.items():
        home, dot, rest = name.partition(".")
        if dot:
            if home not in homes:
                hint = did_you_mean(home, homes, none="nothing has settings here.")
                raise SettingsError(f"'{name}' is no setting: there is no '{home}': {hint}")
            found[home][rest] = value
            continue
        owners = [home for home in plain if name in (homes[home] or {})]
        if len(owners) > 1:
            raise SettingsError(f"'{name}' is a setting of both: say {' or '.join(f'{o}.{name}' for o in owners)}.")
        if not owners:
            if name in own:
                raise SettingsError(
                    f"'{name}' is no setting but an option of the command: --{name} {value} (in Python {name}=)."
                )
            known = [known for home in plain for known in homes[home] or {}]
            raise SettingsError(
                f"There is no setting '{name}' here: {did_you_mean(name, known, none='there are none.')}"
            )
        found[owners[0]][name] = value
    return found


def plain_names(given: Mapping[str, Any], *, home: str) -> set[str]:
    """The names of given settings that may be `home`'s: those that say so, and those that do not say whose they are."""
    return {name.removeprefix(f"{home}.") for name in given if "." not in name or name.startswith(f"{home}.")}


def by_input(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings of formats by input: `volume.series` is for one input, `series` for all ("")."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        place, _, setting = name.rpartition(".")
        found.setdefault(place, {})[setting] = value
    return found


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
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number) or isinstance(value, bool):
        raise SettingsError(f"{where} is {value!r}, but must be a number.")
    return number


def _str(value: Any, where: str) -> str:
    if not isinstance(value, str | Path | int) or isinstance(value, bool):  # a series may be number 5
        raise SettingsError(f"{where} is {value!r}, but must be text.")
    return str(value)


def _list(value: Any, where: str) -> list[Any]:
    if isinstance(value, str):
        return [_scalar(part) for part in value.strip("[]").split(",") if part.strip()]
    if isinstance(value, int | float) and not isinstance(value, bool):  # as the text of a number is a list of one
        return [value]
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
