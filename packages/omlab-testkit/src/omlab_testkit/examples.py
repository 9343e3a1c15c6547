"""Example payloads: small inputs and targets that checks feed to models, formats and evaluators.

The package that owns a payload declares them, through two entry-point groups whose names are kinds:

    [project.entry-points."omlab_testkit.examples"]
    volume = "omlab_volume.testing:example_volumes"      # () -> sequence of payloads
    labelmap = "omlab_volume.testing:example_labelmaps"

    [project.entry-points."omlab_testkit.odd"]
    volume = "omlab_volume.testing:odd_volumes"          # () -> {what is odd: payload}

The n-th examples of all kinds of one package belong together (image and label map of one patient).
A package whose models need other inputs says so in its `tests/examples.py`:

    def examples(kind: str, card: str) -> list | None    # None: the declared ones
    def odd(kind: str, card: str) -> dict | None
    def dataset_root(card: str) -> Path | None           # the files of a data set, where it cannot make them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from omlab_testkit.outcome import PromiseError
from omlab_testkit.parity import load_file

GROUP = "omlab_testkit.examples"
ODD_GROUP = "omlab_testkit.odd"


def examples(kind: str, *, card: str, tests: Path | None) -> Sequence[Any]:
    """At least one payload of `kind`. Raises `PromiseError` where nobody declares one."""
    found = _own("examples", kind, card=card, tests=tests)
    if found is None:
        found = _declared(GROUP, kind)
    if not found:
        raise PromiseError(
            f"'{card}' uses payloads of kind '{kind}', of which there is no example: declare them in the "
            f"entry-point group {GROUP} of the package that owns the kind, or in tests/examples.py."
        )
    wrong = [payload for payload in found if getattr(payload, "kind", None) != kind]
    if wrong:
        raise PromiseError(f"An example for kind '{kind}' is a {type(wrong[0]).__name__} of another kind.")
    return list(found)


def odd(kind: str, *, card: str, tests: Path | None) -> Mapping[str, Any]:
    """Payloads of `kind` that are odd (NaN, constant, one voxel, ...), by what is odd about them."""
    found = _own("odd", kind, card=card, tests=tests)
    return dict(found if found is not None else _declared(ODD_GROUP, kind) or {})


def dataset_root(card: str, *, tests: Path | None) -> Path | None:
    """The folder that the package's tests give a data set; None where it makes its own files."""
    module = _examples_file(tests)
    found = module.dataset_root(card) if module is not None and hasattr(module, "dataset_root") else None
    return Path(found) if found is not None else None


def _own(function: str, kind: str, *, card: str, tests: Path | None) -> Any:
    module = _examples_file(tests)
    return getattr(module, function)(kind, card) if module is not None and hasattr(module, function) else None


@cache
def _examples_file(tests: Path | None) -> Any:
    path = tests / "examples.py" if tests else None
    return load_file(path) if path is not None and path.is_file() else None


def _declared(group: str, kind: str) -> Any:
    for entry_point in entry_points(group=group, name=kind):
        return entry_point.load()()
    return None
