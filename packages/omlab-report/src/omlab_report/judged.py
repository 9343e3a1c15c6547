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
    model = _part(request, "model")
    if not model:
        return "predictions of unknown origin" if "predictions" in request else ""
    base = _part(model, "base").get("name")
    return f"{model.get('name', '')}, adapted from {base}" if base else str(model.get("name", ""))


def notices_of(facts: Mapping[str, Any] | None) -> list[str]:
    """What stands above all figures: that weights are untrained, or that nobody knows whose predictions these are."""
    request = _part(facts or {}, "request")
    if "predictions" in request and not request.get("model"):
        return [UNKNOWN_ORIGIN]
    names = dict.fromkeys(_untrained(_part(request, "model")))
    return [UNTRAINED_NOTICE.format(name=name) for name in names]


def judged_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """The few facts that every reader looks for: model, weights, data, evaluator, and where predictions came from."""
    request, arguments = _part(facts, "request"), _part(facts, "arguments")
    model, data = _part(request, "model"), request.get("data") or []
    found = {
        "Model": model_words(request),
        "Models": ", ".join(map(str, models)) if isinstance(models := arguments.get("models"), list) else "",
        "Adapted from": _base(model),
        "Weights": _weights(model),
        "Predictions": str(arguments.get("predictions") or ""),
        "Verb": str(request.get("verb") or ""),
        "Data": ", ".join(map(_data, data if isinstance(data, list) else [data])),
        "Evaluator": str(_part(request, "evaluator").get("name", "")),
        "Device": str(request.get("device") or ""),
        "Started": str(facts.get("started") or ""),
    }
    return {name: value for name, value in found.items() if value}


def _part(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a request, which any plugin may write as it likes: a mapping, or a name alone; empty where absent."""
    found = of.get(name) or {}
    return found if isinstance(found, Mapping) else {"name": str(found)}


def _data(data: Any) -> str:
    part = _part({"data": data}, "data")
    split = f" ({part['split']})" if part.get("split") else ""
    return f"{part.get('name', '')}{split}"


def _untrained(model: Mapping[str, Any]) -> Iterator[str]:
    """The names of models with random weights: itself, unless it was adapted, and what it needs."""
    needs = _part(model, "needs")
    if not model.get("base") and _part(model, "weights").get("tag") == UNTRAINED:
        yield str(model.get("name", ""))
    for name in needs:
        yield from _untrained(_part(needs, name))


def _base(model: Mapping[str, Any]) -> str:
    base = _part(model, "base")
    name = str(base.get("name", ""))
    return f"{name}, {FROM_UNTRAINED}" if any(_untrained(base)) else name


def _weights(model: Mapping[str, Any]) -> str:
    weights = _part(model, "weights")
    if weights.get("tag") == UNTRAINED:
        return "untrained: drawn at random"
    files = "; ".join(f"{name}, sha256 {digest[:12]}…" for name, digest in _part(weights, "sha256").items())
    return ": ".join(filter(None, [str(weights.get("tag") or ""), files]))
