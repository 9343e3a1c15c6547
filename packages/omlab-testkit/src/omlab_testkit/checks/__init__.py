"""The checks, each a function `(subject, folder)` with the promise that it holds the plugin to as its docstring.

`folder` is an empty temporary folder. A check returns when the promise is kept, raises `PromiseError`
where it is broken and `CannotCheckError` where it cannot tell here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., None])
MODULES = (
    *("plugin", "cards", "payloads", "formats", "datasets", "models", "verbs", "odd", "results", "streams"),
    *("prompts", "recipes", "weights", "adapters", "evaluators", "golden"),
)
RUNS = ("model", "verb", "recipe", "weights")
"""Scopes whose checks run a model unless they say that they do not."""
MIXED = ("plugin", "card")
"""Scopes of what other installed plugins may upset: clashes, kinds, imports."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: on subjects of `scope`, of which only those that `applies` to, with or without a GPU.

    `each`: it is made on every card, also on one that is like another; `together`: other plugins may upset it.
    """

    name: str
    scope: str
    run: Callable[[Any, Path], None]
    runs_model: bool
    applies: Mapping[str, Any]
    gpu: bool = False
    each: bool = True
    together: bool = False

    @property
    def promise(self) -> str:
        """The first paragraph of the docstring, on one line."""
        return " ".join((self.run.__doc__ or "").partition("\n\n")[0].split())

    def is_for(self, subject: Any) -> bool:
        """Whether the subject has what the check is about."""
        return all(
            _FACTS[fact](subject) == wanted for fact, wanted in self.applies.items() if fact not in _LISTS
        ) and all(wanted in _LISTS[fact](subject) for fact, wanted in self.applies.items() if fact in _LISTS)


_FACTS: dict[str, Callable[[Any], Any]] = {
    "streams": lambda subject: subject.facts.streams,
    "gives": lambda subject: subject.facts.gives,
    "remote": lambda subject: subject.model_card.is_remote,
    "needs": lambda subject: bool(subject.model_card.needed),
    "trains": lambda subject: bool(subject.model_card.trains),
    "loop": lambda subject: subject.training.loop,
}
_LISTS: dict[str, Callable[[Any], Any]] = {"takes": lambda subject: set(subject.facts.kinds.values())}
_found: dict[str, Check] = {}


def check(
    *,
    of: str,
    gpu: bool = False,
    runs_model: bool | None = None,
    each: bool | None = None,
    together: bool | None = None,
    **applies: Any,
) -> Callable[[F], F]:
    """Register a function as the check of its name.

    Args:
        of: Scope of its subjects.
        gpu: Whether it needs a GPU.
        runs_model: Whether it runs a model; by default as the scope says.
        each: Whether it is made by day on a card that is like another; by default what verbs and recipes do is not.
        together: Whether plugins installed beside may upset it; by default as the scope says.
        applies: What a subject must have: `streams`, `takes` and `gives` of verbs, `remote`, `needs` and `trains` of
            models, `loop` of recipes.
    """

    def register(function: F) -> F:
        runs = of in RUNS if runs_model is None else runs_model
        _found[function.__name__] = Check(
            name=function.__name__,
            scope=of,
            run=function,
            runs_model=runs,
            applies=applies,
            gpu=gpu,
            each=of not in ("verb", "recipe") if each is None else each,
            together=of in MIXED if together is None else together,
        )
        return function

    return register


def all_checks() -> dict[str, Check]:
    """Every check by name, in the order in which they are run."""
    order = {f"{__name__}.{module}": place for place, module in enumerate(MODULES)}
    for module in order:
        import_module(module)
    return dict(sorted(_found.items(), key=lambda row: order[row[1].run.__module__]))  # one may import another


def as_markdown() -> str:
    """The list of checks as the README shows it."""
    return "\n".join(f"- `{check.name}` ({check.scope}): {check.promise}" for check in all_checks().values())
