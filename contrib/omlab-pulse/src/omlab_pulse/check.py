"""What is asked of PULSE's settings before weights are looked for; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omlab.errors import SettingsError


def check_bloom(settings: Mapping[str, Any], *, weights: str) -> None:
    """Raise `SettingsError` where rotary positions are to be scaled: BLOOM has none."""
    if settings["rope"] != "stored" or settings["rope_factor"] != 1:
        raise SettingsError(
            "rope and rope_factor scale rotary positions, but this model is a BLOOM, whose positions are ALiBi: "
            "longer texts need -s context= alone."
        )


def check_llama(settings: Mapping[str, Any], *, weights: str) -> None:
    """Raise `SettingsError` where rope and its factor do not belong together."""
    rope, factor = settings["rope"], settings["rope_factor"]
    if rope == "stored" and factor != 1:
        raise SettingsError(
            f"rope_factor={factor:g} needs a way to scale: add -s rope=static, dynamic, yarn or linear."
        )
    if rope in ("static", "linear", "yarn") and factor <= 1:
        raise SettingsError(f"rope={rope} needs to know how far: add -s rope_factor=2, or another number above 1.")
