"""What was judged: the model behind the figures, as a run's log tells it, and what a reader must know before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omlab.identities import UNTRAINED, part, untrained_in

UNTRAINED_NOTICE = (
    "The weights of '{name}' are untrained: they were drawn at random and have learned nothing. The figures are what "
    "such a network gives by chance; they say nothing of what it does once it is trained."
)
UNKNOWN_ORIGIN = (
    "The predictions are files of unknown origin: no log of a run lies beside them, so that this report cannot say "
    "which model made them, with which weights, or from which images."
)
FROM_UNTRAINED = "whose weights are random: what it knows it learned in the adaptation"


def model_words(request: Mapping[str, Any]) -> str:
    """The model of a request in a few words: its name, and what it was adapted from; empty where it names none."""
    model = part(request, "model")
    if not model:
        return "predictions of unknown origin" if "predictions" in request else ""
    base = part(model, "base").get("name")
    return f"{model.get('name', '')}, adapted from {base}" if base else str(model.get("name", ""))


def notices_of(facts: Mapping[str, Any] | None) -> list[str]:
    """What stands above all figures: that weights are untrained, or that nobody knows whose predictions these are."""
    request = part(facts or {}, "request")
    if "predictions" in request and not request.get("model"):
        return [UNKNOWN_ORIGIN]
    return untrained_notices(part(request, "model"))


def untrained_notices(model: Mapping[str, Any]) -> list[str]:
    """What stands above figures that come from a model of such an identity: for each untrained one of it a notice."""
    names = dict.fromkeys(untrained_in(model))
    return [UNTRAINED_NOTICE.format(name=name) for name in names]


def judged_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """The few facts that every reader looks for: model, weights, data, evaluator, and where predictions came from."""
    request, arguments = part(facts, "request"), part(facts, "arguments")
    model, data = part(request, "model"), request.get("data") or []
    found = {
        "Model": model_words(request),
        "Models": ", ".join(map(str, models)) if isinstance(models := arguments.get("models"), list) else "",
        "Adapted from": _base(model),
        "Weights": _weights(model),
        "Predictions": str(arguments.get("predictions") or ""),
        "Verb": str(request.get("verb") or ""),
        "Data": ", ".join(map(_data, data if isinstance(data, list) else [data])),
        "Evaluator": str(part(request, "evaluator").get("name", "")),
        "Device": str(request.get("device") or ""),
        "Started": str(facts.get("started") or ""),
    }
    return {name: value for name, value in found.items() if value}


def _data(data: Any) -> str:
    told = part({"data": data}, "data")
    split = f" ({told['split']})" if told.get("split") else ""
    return f"{told.get('name', '')}{split}"


def _base(model: Mapping[str, Any]) -> str:
    base = part(model, "base")
    name = str(base.get("name", ""))
    return f"{name}, {FROM_UNTRAINED}" if any(untrained_in(base)) else name


def _weights(model: Mapping[str, Any]) -> str:
    weights = part(model, "weights")
    if weights.get("tag") == UNTRAINED:
        return "untrained: drawn at random"
    files = "; ".join(f"{name}, sha256 {digest[:12]}…" for name, digest in part(weights, "sha256").items())
    return ": ".join(filter(None, [str(weights.get("tag") or ""), files]))
