"""Guards around hook implementations: pluggy calls them, and they say whose implementation failed.

One plugin's failure is noted and its answer left out; a wrapper that fails lets what it wraps pass as it is. To pluggy
a guard looks like the function inside: its name, its arguments, its options.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from omlab.errors import OmlabError, where

Each = Callable[[Any, str], Any]
"""(what an implementation gave, its distribution) -> what is handed on; an exception blames the plugin."""


def as_given(answer: Any, _: str) -> Any:
    """Hand on what an implementation gave."""
    return answer


@dataclass(kw_only=True)
class _Call:
    """One call of a hook: what becomes of answers, and why plugins failed, by their names."""

    each: Each = as_given
    failed: dict[str, str] = field(default_factory=dict)


class Guards:
    """Makes guards, and knows which call of a hook they are in."""

    def __init__(self) -> None:
        self._call = _Call()

    @contextmanager
    def calling(self, each: Each) -> Iterator[dict[str, str]]:
        """A call of a hook; gives the plugins that fail in it, with the reason."""
        before, self._call = self._call, _Call(each=each)  # a hook may ask another one
        try:
            yield self._call.failed
        finally:
            self._call = before

    def around(self, function: Callable[..., Any], *, plugin: str, distribution: str) -> Callable[..., Any]:
        """A guard around a plain implementation."""

        @wraps(function)
        def guard(*arguments: Any, **more: Any) -> Any:
            try:
                answer = function(*arguments, **more)
                return None if answer is None else self._call.each(answer, distribution)
            except (Exception, SystemExit) as error:
                self._call.failed[plugin] = said(error)
                return None

        return guard

    def around_wrapper(self, function: Callable[..., Any], *, plugin: str, distribution: str) -> Callable[..., Any]:
        """A guard around a wrapper: a generator function that yields once and returns all answers."""

        @wraps(function)
        def guard(*arguments: Any, **more: Any) -> Generator[None, Any, Any]:
            wrapper = function(*arguments, **more)
            try:
                next(wrapper)
            except (Exception, SystemExit) as error:
                self._call.failed[plugin] = said(error)
                return (yield)
            answers = yield
            try:
                wrapper.send(answers)
            except StopIteration as stop:
                return self._all(stop.value, answers, plugin, distribution)
            except (Exception, SystemExit) as error:
                self._call.failed[plugin] = said(error)
            else:
                self._call.failed[plugin] = "a wrapper must yield once"
            return answers

        return guard

    def _all(self, given: Any, answers: list[Any], plugin: str, distribution: str) -> list[Any]:
        try:
            return [self._call.each(answer, distribution) for answer in given]
        except (Exception, SystemExit) as error:
            self._call.failed[plugin] = said(error)
            return answers


def said(error: BaseException) -> str:
    """An error of a plugin as a reason: our own sentences as they are, others with type and place."""
    if isinstance(error, OmlabError):
        return str(error)
    return f"{type(error).__name__}: {error}{where(error, below=1)}"  # the first frame is that of our call
