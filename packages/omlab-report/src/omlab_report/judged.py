"""What was judged: the model behind the figures, as a run's log tells it, and what a reader must know before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

UNTRAINED = "untrained"
"""The tag of weights that are drawn at random."""

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
    model = request.get("model") or {}
    if not model:
        return "predictions of unknown origin" if "predictions" in request else ""
    base = (model.get("base") or {}).get("name")
    return f"{model.get('name', '')}, adapted from {base}" if base else str(model.get("name", ""))


def notices_of(facts: Mapping[str, Any] | None) -> list[str]:
    """What stands above all figures: that weights are untrained, or that nobody knows whose predictions these are."""
    request = (facts or {}).get("request") or {}
    if "predictions" in request and not request.get("model"):
        return [UNKNOWN_ORIGIN]
    names = dict.fromkeys(_untrained(request.get("model") or {}))
    return [UNTRAINED_NOTICE.format(name=name) for name in names]


def judged_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """The few facts that every reader looks for: model, weights, data, evaluator, and where predictions came from."""
    request, arguments = facts.get("request") or {}, facts.get("arguments") or {}
    model, evaluator = request.get("model") or {}, request.get("evaluator") or {}
    data = request.get("data") or []
    found = {
        "Model": model_words(request),
        "Models": ", ".join(map(str, arguments.get("models") or [])),
        "Adapted from": _base(model),
        "Weights": _weights(model),
        "Predictions": str(arguments.get("predictions") or ""),
        "Verb": str(request.get("verb") or ""),
        "Data": ", ".join(map(_data, data if isinstance(data, list) else [data])),
        "Evaluator": str(evaluator.get("name", "")),
        "Device": str(request.get("device") or ""),
        "Started": str(facts.get("started") or ""),
    }
    return {name: value for name, value in found.items() if value}


def _data(data: Mapping[str, Any]) -> str:
    split = f" ({data['split']})" if data.get("split") else ""
    return f"{data.get('name', '')}{split}"


def _untrained(model: Mapping[str, Any]) -> Iterator[str]:
    """The names of models with random weights: itself, unless it was adapted, and what it needs."""
    if not model.get("base") and (model.get("weights") or {}).get("tag") == UNTRAINED:
        yield str(model.get("name", ""))
    for need in (model.get("needs") or {}).values():
        yield from _untrained(need)


def _base(model: Mapping[str, Any]) -> str:
    base = model.get("base") or {}
    name = str(base.get("name", ""))
    return f"{name}, {FROM_UNTRAINED}" if any(_untrained(base)) else name


def _weights(model: Mapping[str, Any]) -> str:
    weights = model.get("weights") or {}
    if weights.get("tag") == UNTRAINED:
        return "untrained: drawn at random"
    files = "; ".join(f"{name}, sha256 {digest[:12]}…" for name, digest in (weights.get("sha256") or {}).items())
    return ": ".join(filter(None, [str(weights.get("tag") or ""), files]))
