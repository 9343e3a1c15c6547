"""The model that made a store, found again: a query is only comparable where exactly the same one embeds it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omlab.digests import digest_of
from omlab.errors import UnknownNameError, UsageError
from omlab.models import ModelRef, Needs, find_model, weights_in
from omlab.weights import LOCAL
from omlab_retrieval.store import Store


def find_same_model(
    store: Store,
    *,
    model: str | Path | None = None,
    weights: str | Path | None = None,
    needs: Needs | None = None,
    device: str = "auto",
    offline: bool | None = None,
) -> ModelRef:
    """The model that made a store, with its weights, settings and, where there is one, on its sort of device.

    Args:
        store: The embeddings.
        model: Its name or folder, where it lies elsewhere than when they were made.
        weights: The local checkpoint, where they were made with one.
        needs: Likewise, for what it needs.
        device: `auto`: as the store was made, else the cpu.
        offline: True: never fetch weights.

    Raises:
        UsageError: It cannot be told, or what is here is not the same.
        OmlabError: It cannot be found.
    """
    made = store.model
    is_adapted = "adapted" in made
    if made["weights"]["tag"] == LOCAL and weights is None and model is None:
        raise UsageError(f"{store.place} was made with a local checkpoint: name it with --weights FILE.")
    name = model or _name(store, is_adapted=is_adapted)
    kept = {} if is_adapted else {need: identity["name"] for need, identity in made["needs"].items()}
    try:
        ref = find_model(
            name,
            weights=weights,
            device=_device(store, device),
            settings=made["settings"],
            needs={**kept, **(needs or {})},
            offline=offline,
        )
    except UnknownNameError as error:
        raise UsageError(
            f"{store.place} was made by '{made['name']}', which is not found here ({error}); "
            "where it has moved, name it with --model."
        ) from error
    difference = _difference(made, ref.identity())
    if difference:
        raise UsageError(
            f"{store.place} was made by another model than '{ref.name}' is here ({difference}), whose embeddings "
            "cannot be compared: embed those cases again, or name the model that made them with --model."
        )
    return ref


def _name(store: Store, *, is_adapted: bool) -> str:
    """What the model is found by: a name, of an adapted one the folder that the user gave."""
    name = str(store.model["name"])
    if is_adapted:
        return str(store.log.get("arguments", {}).get("model") or name)
    return name.partition(".")[0] if store.model["weights"]["tag"] == LOCAL else name


def _device(store: Store, device: str) -> str:
    if device != "auto":
        return device
    return "cpu" if store.request.get("device") == "cpu" else "auto"


def _difference(made: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What differs between two identities, in words; empty where nothing does but the name of a folder."""
    passed = ("name",) if "adapted" in made and "adapted" in here else ()
    first, second = ({key: value for key, value in one.items() if key not in passed} for one in (made, here))
    if digest_of(first) == digest_of(second):
        return ""
    if made["name"] != here["name"] and not passed:
        return f"that was '{made['name']}'"
    if weights_in(made) != weights_in(here):
        return "its weights differ"
    for package, version in made["packages"].items():
        if here["packages"].get(package) != version:
            return f"it was {package} {version}, here it is {here['packages'].get(package, 'none')}"
    parts = {"card": "card", "settings": "settings", "needs": "needs", "adapted": "adaptation", "base": "base"}
    found = [word for key, word in parts.items() if made.get(key) != here.get(key)]
    return f"its {found[0]} differs" if found else "packages that it uses differ"
