"""The folder of an adapted model: `adapted.json`, a card of its own, and `weights.safetensors`, what changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from omlab.card_schema import Verb
from omlab.errors import UsageError, first_line

ADAPTED = "adapted.json"
ADAPTED_WEIGHTS = "weights.safetensors"
HISTORY = "history.json"
BASE = "base"
NEEDS = "needs"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `adapted.json` says.

    Attributes:
        does: The verbs that it has, as in a model card.
        base: Name of the model that it was made from, with the tag of its weights.
        adapter: Name of the adapter.
        config: What the adapter needs to have it again.
        base_folder: Where the base is an adapted model itself: its folder in this one.
        base_weights: Where the base was loaded from a local file: that file.
        base_identity: Which model exactly the base was.
        adapter_settings: Complete.
        recipe: Name of the recipe; None where the adapter needs none.
        recipe_settings: Complete.
        settings: Of the base's card.
        needs: Other models than the card's for what the base needs: names, or folders in this one.
        data: Name, settings, split and digest of the data set.
        seed: Of the adaptation.
    """

    does: Mapping[str, Any]
    base: str
    adapter: str
    config: Mapping[str, Any]
    base_folder: str | None = None
    base_weights: str | None = None
    base_identity: Mapping[str, Any] = field(default_factory=dict)
    adapter_settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    recipe_settings: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    omlab_adapted: int = 1

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def verbs(self) -> dict[str, Verb]:
        """The verbs, validated."""
        return {name: Verb.model_validate(facts) for name, facts in self.does.items()}


def read_description(folder: Path) -> Description:
    """What `adapted.json` of a folder says; fields that a later omlab added are passed over.

    Raises `UsageError` where it is not the description of an adapted model.
    """
    path = folder / ADAPTED
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {name: content[name] for name in Description.__dataclass_fields__ if name in content}
        description = Description(**known)
        description.verbs()
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise UsageError(f"{path} is not the description of an adapted model ({first_line(error)}).") from error
    return description
