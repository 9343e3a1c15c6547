"""Checks of what every verb does: alone, in batches, again, prepared, and with other options."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from omlab.payloads import Compound, Framed, Spatial, describe
from omlab.roles import Prepares
from omlab_testkit.checks import check
from omlab_testkit.compare import ROUNDING, Tolerance, all_finite, difference, fingerprint
from omlab_testkit.loading import quiet
from omlab_testkit.outcome import CannotCheckError, PromiseError
from omlab_testkit.subjects import VerbSubject

GPU = Tolerance(relative=1e-3, labels=2e-3)
"""What a GPU's arithmetic may change in float32."""


@check(of="verb", together=True)
def result_is_what_the_card_says(subject: VerbSubject, folder: Path) -> None:
    """What a verb gives is of the kind that its card says, finite, and on the grid or in the space that it promises."""
    if not subject.cases:
        raise PromiseError(f"{subject.what} has no example inputs.")
    for index, case in enumerate(subject.cases):
        check_result(subject, case, subject.result(index), what=f"example {index}")


def check_result(subject: VerbSubject, case: Mapping[str, Any], result: Any, *, what: str) -> None:
    """Raise `PromiseError` where a result is not what the card of its model promises."""
    facts = subject.facts
    if describe(result) != facts.gives:
        raise PromiseError(f"{subject.what} gives a {describe(result)} for {what}, its card says {facts.gives}.")
    for name, part in parts_of(result).items():
        of = f"{subject.what} for {what}" + (f" ({name})" if name else "")
        if not all_finite(part):
            raise PromiseError(f"The result of {of} has NaN or infinity.")
        if facts.grid is not None and isinstance(part, Spatial) and not part.same_grid(case[facts.grid]):
            raise PromiseError(f"The result of {of} is not on the grid of its input '{facts.grid}'.")
        if facts.frame is not None and isinstance(part, Framed) and not part.same_frame(case[facts.frame]):
            raise PromiseError(f"The result of {of} is not in the space of its input '{facts.frame}'.")


def parts_of(result: Any) -> dict[str, Any]:
    """The parts of a compound result by name, else the result itself under no name."""
    return dict(result.parts()) if isinstance(result, Compound) else {"": result}


@check(of="verb")
def promises_are_kept_by_something(subject: VerbSubject, folder: Path) -> None:
    """A grid or frame that a card promises is of an input and a result that have one, so that it can be held to it."""
    for word, protocol in (("grid", Spatial), ("frame", Framed)):
        name: str | None = getattr(subject.facts, word)
        if name is None:
            continue
        found = {f"the input '{name}'": subject.cases[0][name]}
        held = [part for part in parts_of(subject.result(0)).values() if isinstance(part, protocol)]
        lacking = [what for what, value in found.items() if not isinstance(value, protocol)]
        if lacking or not held:
            what = lacking[0] if lacking else f"no part of what {subject.what} gives"
            raise PromiseError(f"{subject.what} promises the {word} of '{name}', but {what} has one (same_{word}).")


@check(of="verb")
def same_again(subject: VerbSubject, folder: Path) -> None:
    """The same case gives the same result again, its inputs are not changed, and nothing touches the network.

    Global random states change nothing: draws depend on the option `seed` and the case alone.
    """
    first, case = subject.result(0), subject.cases[0]
    before = fingerprint(case)
    with no_network(allowed=subject.model_card.is_remote) as attempts, other_random_state():
        again = subject.results([case], what="a second call")[0]
    if attempts:
        raise PromiseError(f"{subject.what} touches the network: {attempts[0]}.")
    if fingerprint(case) != before:
        raise PromiseError(f"{subject.what} changes its inputs.")
    found = difference(again, first, where="a second result") if subject.facts.deterministic else ""
    if found:
        raise PromiseError(f"{subject.what} is not deterministic, as its card says: {found}.")


@check(of="verb")
def batch_equals_one_at_a_time(subject: VerbSubject, folder: Path) -> None:
    """Several cases at once, in any order, give what each of them gives alone (up to rounding)."""
    count = len(subject.cases)
    for order in (range(count)[::-1], [*range(count), 0]):
        _check_batch(subject, list(order))


def _check_batch(subject: VerbSubject, order: Sequence[int]) -> None:
    batch = [subject.cases[index] for index in order]
    with quiet():
        prepared = [subject.session.prepare(subject.verb, case, **subject.options) for case in batch]
        direct = _direct(subject, prepared)
    if len(direct) != len(batch):
        raise PromiseError(f"{subject.what} gives {len(direct)} results for {len(batch)} cases.")
    for index, case, result in zip(order, prepared, direct, strict=True):
        check_result(subject, subject.cases[index], result, what=f"example {index} in a batch")
        if not subject.facts.deterministic:
            continue
        with quiet():
            told = subject.session.told(subject.verb, case, result)
        found = difference(told, subject.result(index), tolerance=ROUNDING, where="it")
        if found:
            raise PromiseError(f"{subject.what} does example {index} otherwise in a batch of {list(order)}: {found}.")


def _direct(subject: VerbSubject, prepared: Sequence[Any]) -> list[Any]:
    """The results of the model's own method for a whole batch: a session would do singly what fails together."""
    from omlab_testkit.loading import answering

    session = subject.session
    options = session.options(subject.verb, subject.options)
    try:
        with answering(subject.model_card):
            return list(getattr(session.model, subject.verb)([case.value for case in prepared], **options))
    except Exception as error:  # whatever it is, the batch fails
        message = f"{subject.what} fails for {len(prepared)} cases at once: {type(error).__name__}: {error}"
        raise PromiseError(message) from error


@check(of="verb")
def prepared_equals_direct(subject: VerbSubject, folder: Path) -> None:
    """Preparing cases in threads and applying the verb later gives what the verb gives at once."""
    if not isinstance(subject.model, Prepares):
        return
    from concurrent.futures import ThreadPoolExecutor

    def prepare(case: Mapping[str, Any]) -> Any:
        return subject.session.prepare(subject.verb, case, **subject.options)

    cases = subject.cases
    before = [fingerprint(case) for case in cases]
    with quiet(), ThreadPoolExecutor(max_workers=2) as pool:
        prepared = list(pool.map(prepare, cases))
    if [fingerprint(case) for case in cases] != before:
        raise PromiseError(f"prepare() of {subject.what} changes the inputs.")
    results = subject.results(prepared, what="prepared cases")
    for index, result in enumerate(results if subject.facts.deterministic else ()):
        found = difference(result, subject.result(index), tolerance=ROUNDING, where="it")
        if found:
            raise PromiseError(f"{subject.what} does example {index} otherwise when it was prepared before: {found}.")


@check(of="verb")
def options_hold_for_one_call(subject: VerbSubject, folder: Path) -> None:
    """Each option works at its default, bounds and choices, and is forgotten by the next call; so is each `seed`."""
    case, plain = subject.cases[0], subject.result(0)
    for name, value in _other_options(subject):
        result = subject.apply([case], **{name: value})[0]
        if type(result).__name__ == "UnexpectedError":
            raise PromiseError(f"{subject.what} fails with {name}={value!r}: {result}") from result.__cause__
        if not isinstance(result, Exception):
            check_result(subject, case, result, what=f"{name}={value!r}")
        after = subject.results([case], what=f"a call after {name}={value!r}")[0]
        found = difference(after, plain, where="the next result") if subject.facts.deterministic else ""
        if found:
            raise PromiseError(f"{subject.what} remembers {name}={value!r}: {found}.")


def _other_options(subject: VerbSubject) -> Iterator[tuple[str, Any]]:
    """Another value or two for each option: small ones, for numbers may say how long it takes."""
    for name, option in subject.facts.options.items():
        now = subject.options.get(name, option.default)
        values: list[Any] = list(option.choices or [])
        if option.type == "bool":
            values = [False, True]
        elif option.choices is None and option.type in ("int", "float") and option.minimum is not None:
            values = [int(option.minimum) if option.type == "int" else float(option.minimum)]
        elif name == "seed":
            values = [now + 1]
        yield from ((name, value) for value in values if value != now)


@check(of="verb")
def optional_inputs_may_be_left_out(subject: VerbSubject, folder: Path) -> None:
    """A case without an input that may be left out, or without all of them, gives a sound result."""
    facts, case = subject.facts, subject.cases[0]
    optional = [name for name in case if name not in facts.required]
    for left_out in [*([name] for name in optional), *([optional] if len(optional) > 1 else [])]:
        rest = {name: value for name, value in case.items() if name not in left_out}
        result = subject.results([rest], what=f"a case without {' and '.join(left_out)}")[0]
        check_result(subject, rest, result, what=f"a case without {' and '.join(left_out)}")


@check(of="verb", gpu=True)
def gpu_equals_cpu(subject: VerbSubject, folder: Path) -> None:
    """A GPU gives what the CPU gives, up to rounding; of classes at most 0.2 % of the entries differ."""
    if subject.model_card.is_remote or not subject.facts.deterministic:
        return
    import torch

    if not torch.cuda.is_available():
        raise CannotCheckError("there is no CUDA device here")
    on_gpu = subject.load(device="cuda")
    if hasattr(subject.model, "module"):  # an untrained network need not be the same each time
        on_gpu.model.module.load_state_dict(subject.model.module.state_dict())  # type: ignore[attr-defined]
    for index, case in enumerate(subject.cases):
        result = subject.results([case], session=on_gpu, what=f"example {index} on a GPU")[0]
        found = difference(result, subject.result(index), tolerance=GPU, where="its result")
        if found:
            raise PromiseError(f"{subject.what} on a GPU differs from the CPU for example {index}: {found}.")


@contextmanager
def no_network(*, allowed: bool = False) -> Iterator[list[str]]:
    """Refuse connections, but to this machine where `allowed`; gives the addresses that were tried."""
    attempts: list[str] = []
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if allowed and isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1", "localhost"):
            return connect(self, address)
        attempts.append(str(address))
        raise OSError("the test kit allows no network here")

    socket.socket.connect = refuse  # type: ignore[method-assign,assignment]
    try:
        yield attempts
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]


@contextmanager
def other_random_state() -> Iterator[None]:
    """Another state of every global generator, for a while."""
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(20240501)
        np.random.seed(20240501)
        torch.manual_seed(20240501)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
