"""Example payloads: small inputs and targets that checks feed to models, formats and evaluators.

The package that owns a payload declares them, through entry-point groups whose names are kinds:

    [project.entry-points."omlab_testkit.examples"]
    volume = "omlab_volume.testing:example_volumes"      # () -> sequence of payloads
    labelmap = "omlab_volume.testing:example_labelmaps"

    [project.entry-points."omlab_testkit.odd"]
    volume = "omlab_volume.testing:odd_volumes"          # () -> {what is odd: payload}

    [project.entry-points."omlab_testkit.prompts"]
    volume = "omlab_volume.testing:VolumePrompts"        # () -> PromptExamples, where its models take prompts

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
from typing import Any, Protocol

from omlab.prompts import Prompts, Space
from omlab_testkit.outcome import PromiseError
from omlab_testkit.parity import load_file

GROUP = "omlab_testkit.examples"
ODD_GROUP = "omlab_testkit.odd"
PROMPTS_GROUP = "omlab_testkit.prompts"


class Motion(Protocol):
    """An input, and the same one moved: what is expected of a model that is pointed at both.

    `exact`: nothing but the numbers of positions changes, so that not one entry of the prediction may.
    """

    payload: Any
    target: Any
    moved: Any
    exact: bool

    def prompts(self, prompts: Prompts) -> Prompts:
        """Prompts for `payload`, moved with it."""
        ...

    def prediction(self, prediction: Any) -> Any:
        """A prediction for `payload`, moved with it."""
        ...


class PromptExamples(Protocol):
    """How payloads of one kind are pointed at: the geometry that the kit itself knows nothing of."""

    def prompts(self, payload: Any, target: Any | None, *, space: Space) -> Prompts:
        """Prompts of every kind that needs no file, for each object of `target`; without one, for its middle.

        Those in voxels name the image as `payload` does, or `example`.
        """
        ...

    def boxes_agree(self, payload: Any) -> bool:
        """Whether a box along the voxels of `payload` is one along the world's axes: not where they are oblique."""
        ...

    def named(self, payload: Any, name: str) -> Any:
        """The payload as if it had been read from a file of that name."""
        ...

    def motions(self, payload: Any, target: Any) -> Mapping[str, Motion]:
        """Other origins, other storage of the same, moved content; by what is done."""
        ...


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


def prompt_examples(kind: str, *, card: str) -> PromptExamples:
    """How payloads of `kind` are pointed at. Raises `PromiseError` where nobody says it."""
    found: PromptExamples | None = _declared(PROMPTS_GROUP, kind)
    if found is None:
        raise PromiseError(
            f"'{card}' takes prompts in payloads of kind '{kind}', for which nobody makes examples: declare a maker in "
            f"the entry-point group {PROMPTS_GROUP} of the package that owns the kind."
        )
    return found


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
