"""The checks, each a function `(subject, folder)` with the promise that it holds the plugin to as its docstring.

`folder` is an empty temporary folder. A check returns when the promise is kept, raises `PromiseError`
where it is broken and `CannotCheckError` where it cannot tell here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., None])
MODULES = ("plugin", "cards", "predict", "capabilities", "prompts", "weights", "errors", "formats", "data", "golden")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: on subjects of `scope`, of models only those with one of `capabilities`, with or without a GPU."""

    name: str
    scope: str
    run: Callable[[Any, Path], None]
    runs_model: bool
    capabilities: frozenset[str] = frozenset()
    gpu: bool = False

    @property
    def promise(self) -> str:
        """The first paragraph of the docstring, on one line."""
        return " ".join((self.run.__doc__ or "").partition("\n\n")[0].split())


_found: dict[str, Check] = {}


def check(
    *, of: str, capability: str | Iterable[str] = (), gpu: bool = False, runs_model: bool | None = None
) -> Callable[[F], F]:
    """Register a function as the check of its name. Checks `of` models and weights run the model unless said."""
    capabilities = frozenset([capability] if isinstance(capability, str) else capability)

    def register(function: F) -> F:
        runs = of in ("model", "weights") if runs_model is None else runs_model
        _found[function.__name__] = Check(
            name=function.__name__, scope=of, run=function, runs_model=runs, capabilities=capabilities, gpu=gpu
        )
        return function

    return register


def all_checks() -> dict[str, Check]:
    """Every check by name, in the order in which they are run."""
    for module in MODULES:
        import_module(f"{__name__}.{module}")
    return dict(_found)


def as_markdown() -> str:
    """The list of checks as the README shows it."""
    return "\n".join(f"- `{check.name}` ({check.scope}): {check.promise}" for check in all_checks().values())
