"""Checks of odd inputs: they work or are refused, and harm no other case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omlab.errors import OmlabError
from omlab.session import BrokenPromiseError, UnexpectedError
from omlab_testkit.cases import PROMPTS, prompts_of
from omlab_testkit.checks import check
from omlab_testkit.checks.verbs import check_result
from omlab_testkit.compare import ROUNDING, difference
from omlab_testkit.loading import quiet
from omlab_testkit.outcome import PromiseError
from omlab_testkit.subjects import VerbSubject


def refusal(act: Callable[[], Any], *, what: str, wanted: type[OmlabError] = OmlabError) -> str:
    """The sentence with which `act` is refused. Raises `PromiseError` where it is not, or with another error."""
    try:
        act()
    except wanted as error:
        sentence = str(error).strip()
        if not sentence:
            raise PromiseError(f"{what} is refused with an empty {type(error).__name__}.") from None
        return sentence
    except Exception as error:  # whatever it is, a user would see a traceback
        message = f"{what} raises {type(error).__name__} ({error}); it must be a {wanted.__name__}."
        raise PromiseError(message) from error
    raise PromiseError(f"{what} is accepted as if nothing were wrong.")


@check(of="verb")
def odd_inputs_work_or_are_refused(subject: VerbSubject, folder: Path) -> None:
    """NaN, constant, tiny and other odd inputs give a sound result or an `OmlabError`; a refused one fails alone."""
    refused: list[tuple[str, Any]] = []
    for what, case in _odd_cases(subject):
        try:
            with quiet():
                prepared = subject.session.prepare(subject.verb, case, **subject.options)
        except OmlabError:
            continue
        except Exception as error:
            message = f"{subject.what} raises {type(error).__name__} when {what} is prepared: {error}"
            raise PromiseError(message) from error
        result = subject.apply([prepared])[0]
        if isinstance(result, UnexpectedError | BrokenPromiseError):
            raise PromiseError(f"{subject.what} does not bear {what}: {result}") from result.__cause__
        if isinstance(result, OmlabError):
            refused.append((what, prepared))
        else:
            check_result(subject, case, result, what=what)
    for what, prepared in refused[:1]:
        _check_neighbours(subject, prepared, what=what)


def _odd_cases(subject: VerbSubject) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The first example with one input after the other odd."""
    facts, plain = subject.facts, subject.cases[0]
    for name, kind in facts.kinds.items():
        for oddity, payload in subject.odd(kind).items() if name in plain else ():
            case = {**plain, name: payload}
            if kind != PROMPTS:
                case |= prompts_of(subject, facts, case, target=None)
            yield f"'{name}' that is {oddity}", case


def _check_neighbours(subject: VerbSubject, odd: Any, *, what: str) -> None:
    """The cases beside a refused one are done as they are alone."""
    first, last = subject.cases[0], subject.cases[-1]
    results = subject.apply([first, odd, last])
    for index, result in ((0, results[0]), (len(subject.cases) - 1, results[2])):
        if isinstance(result, Exception):
            raise PromiseError(
                f"{subject.what} fails for example {index} because of another case with {what}: {result}"
            )
        found = difference(result, subject.result(index), tolerance=ROUNDING, where="it")
        if found and subject.facts.deterministic:
            raise PromiseError(f"{subject.what} does example {index} otherwise beside a case with {what}: {found}.")
