"""Example payloads: small inputs and targets that checks feed to models, formats and evaluators.

The package that owns a kind names two functions in its payload card (`omlab.card_schema.PayloadCard`), which give them:

    examples = "omlab_volume.testing:example_volumes"    # () -> sequence of payloads
    odd = "omlab_volume.testing:odd_volumes"             # () -> {what is odd: payload}

The n-th examples of all kinds of one package belong together (image and label map of one patient). A package that needs
others says so in its `tests/examples.py`, each function giving None for what it has nothing to say of:

    def examples(kind: str, card: str) -> list | None
    def odd(kind: str, card: str) -> dict | None
    def inputs(card: str, verb: str) -> list[dict] | None    # whole cases of a verb
    def needs(card: str) -> dict | None                      # small sessions in place of the models that a model needs
    def endpoint(card: str) -> str | None                    # URL of a stand-in for the model's endpoint
    def state_dicts(card: str, tag: str) -> dict | None      # a state dict as published, for each file of the weights
    def snapshot(card: str, tag: str, folder: Path) -> bool  # write made-up files of a repository
    def data(card: str, recipe: str) -> Dataset | None       # what a recipe trains on
    def base(card: str) -> tuple | None                      # base, data, recipe: what an adapter adapts
    def judged(card: str) -> tuple | None                    # samples and results for an evaluator
    def many_file(card: str, folder: Path) -> Path | None    # a file of a format that is only read
    def dataset_root(card: str) -> Path | None               # files of a data set that cannot make its own
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from omlab.card_schema import PayloadCard, validate
from omlab.errors import OmlabError, UnknownNameError
from omlab.registry import load_entry, registry
from omlab_testkit.outcome import PromiseError
from omlab_testkit.parity import load_file

MOTIONS_GROUP = "omlab_testkit.motions"
"""Entry points by kind: how payloads of that kind are moved (`Motions`), for models that are pointed at them."""


class Motion(Protocol):
    """A payload, and the same one moved or stored otherwise: what is expected of a model that is pointed at both.

    `voxels` takes voxels (i, j, k, 1) of `payload` to those of `moved`, `world` likewise mm (RAS+). `exact`: nothing
    but the numbers of positions changes, so that not one entry of the result may.
    """

    payload: Any
    target: Any
    moved: Any
    exact: bool
    voxels: NDArray[Any]
    world: NDArray[Any]

    def result(self, result: Any) -> Any:
        """A result for `payload`, moved with it."""
        ...


class Motions(Protocol):
    """The geometry of a kind, of which the kit itself knows nothing."""

    def boxes_agree(self, payload: Any) -> bool:
        """Whether a box along the voxels of `payload` is one along the world's axes: not where they are oblique."""
        ...

    def motions(self, payload: Any, target: Any) -> Mapping[str, Motion]:
        """Other origins, other storage of the same, moved content; by what is done."""
        ...


def examples(kind: str, *, card: str, tests: Path | None) -> Sequence[Any]:
    """At least one payload of `kind`. Raises `PromiseError` where nobody declares one."""
    found = own("examples", kind, card, tests=tests)
    if found is None:
        found = _declared("examples", kind)
    if not found:
        raise PromiseError(
            f"'{card}' uses payloads of kind '{kind}', of which there is no example: name a function that gives "
            "some in its payload card (examples), or write tests/examples.py."
        )
    wrong = [payload for payload in found if getattr(payload, "kind", None) != kind]
    if wrong:
        raise PromiseError(f"An example for kind '{kind}' is a {type(wrong[0]).__name__} of another kind.")
    return list(found)


def odd(kind: str, *, card: str, tests: Path | None) -> Mapping[str, Any]:
    """Payloads of `kind` that are odd (NaN, constant, one voxel, ...), by what is odd about them."""
    found = own("odd", kind, card, tests=tests)
    return dict(found if found is not None else _declared("odd", kind) or {})


def motions(kind: str) -> Motions | None:
    """How payloads of `kind` are moved; None where nobody says it."""
    for entry_point in entry_points(group=MOTIONS_GROUP, name=kind):
        return cast(Motions, entry_point.load()())
    return None


def own(function: str, *arguments: Any, tests: Path | None) -> Any:
    """What a function of `tests/examples.py` gives; None where there is none of that name."""
    module = _examples_file(tests)
    return getattr(module, function)(*arguments) if module is not None and hasattr(module, function) else None


@cache
def _examples_file(tests: Path | None) -> Any:
    path = tests / "examples.py" if tests else None
    return load_file(path) if path is not None and path.is_file() else None


def _declared(field: str, kind: str) -> Any:
    """What the payload card of `kind` gives in the environment at hand; None where it says nothing."""
    try:
        offer = registry().get("payload", kind)
        entry = getattr(cast(PayloadCard, validate(offer)), field)
        return load_entry(offer, entry)() if entry else None
    except UnknownNameError:
        return None
    except OmlabError as error:
        raise PromiseError(str(error)) from None
