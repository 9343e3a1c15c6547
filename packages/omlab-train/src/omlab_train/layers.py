"""Groups of parameters by layer: lower learning rates near the input, no weight decay where it does harm."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn

from omlab.errors import TrainingError
from omlab_train.recipe import Group


def layer_groups(
    module: nn.Module,
    layers: Sequence[Sequence[str]],
    *,
    lr: float,
    weight_decay: float,
    decay: float = 1.0,
    undecayed: Collection[str] = (),
) -> list[Group]:
    """What `Recipe.groups` gives for layer-wise decay: layer n of N learns at lr decay^(N - 1 - n), the head at lr.

    Parameters of at most one dimension (biases, norms) and those of `undecayed` have no weight decay. A parameter that
    no layer names, such as one that an adapter injected, belongs to the layer that shares the longest beginning of its
    dotted name, and where none shares any, to the head.

    Args:
        module: Whose parameters these are.
        layers: Names of parameters from input to head (`Trainable.layers`). Names that the module does not have are
            passed over: an adapter may have moved them.
        lr: Of the head.
        weight_decay: Of all but the parameters named above.
        decay: Factor from a layer to the one before it, 0.65 to 0.8 for vision transformers (Bao et al., BEiT, 2022).
        undecayed: Names of further parameters without weight decay (position embeddings, tokens).

    Raises:
        TrainingError: There is no layer, none of the names is the module's, or `decay` is not in (0, 1].
    """
    if not 0 < decay <= 1:
        raise TrainingError(f"The layer-wise decay is {decay}, but must be above 0 and at most 1.")
    parameters = dict(module.named_parameters())
    places = {name: place for place, names in enumerate(layers) for name in names}
    if not places.keys() & parameters.keys():
        raise TrainingError(f"None of the parameters that the layers name is one of {type(module).__name__}.")
    beginnings = _beginnings(places)
    groups: dict[tuple[int, bool], Group] = {}
    for name, parameter in parameters.items():
        place = places[name] if name in places else _nearest(name, beginnings, otherwise=len(layers) - 1)
        decayed = parameter.ndim > 1 and name not in undecayed
        rate = lr * decay ** (len(layers) - 1 - place)
        group = {"params": [], "lr": rate, "weight_decay": weight_decay if decayed else 0.0}
        groups.setdefault((place, decayed), group)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _beginnings(places: dict[str, int]) -> dict[str, int]:
    """The last layer that has a parameter below each dotted beginning."""
    found: dict[str, int] = {}
    for name, place in places.items():
        parts = name.split(".")
        for length in range(1, len(parts)):
            beginning = ".".join(parts[:length])
            found[beginning] = max(place, found.get(beginning, place))
    return found


def _nearest(name: str, beginnings: dict[str, int], *, otherwise: int) -> int:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        if (place := beginnings.get(".".join(parts[:length]))) is not None:
            return place
    return otherwise
