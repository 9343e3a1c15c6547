"""A session: a loaded model held to its card. The only place where what a verb promises is checked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from omlab.card_schema import ModelCard, Verb
from omlab.errors import (
    DeviceError,
    GeometryError,
    InputError,
    OmlabError,
    PluginError,
    SettingsError,
    UsageError,
    first_line,
    where,
)
from omlab.gates import Gates
from omlab.payloads import (
    Checked,
    Compound,
    Dependent,
    Facetted,
    Framed,
    Inputs,
    Payload,
    Spatial,
    Telling,
    an,
    describe,
    keeps,
)
from omlab.roles import Delta, Model, Prepares, Streams
from omlab.settings import complete
from omlab.suggest import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A case that was prepared: its inputs, against which results are checked, and what the model made of them.

    `found` is what the gate found of the inputs.
    """

    inputs: Inputs
    value: Any
    found: Mapping[str, Any] = field(default_factory=dict)


class Session:
    """A model that is ready to work. `omlab.load_model` gives one.

    ```python
    session = omlab.load_model("stunet-base")
    labels = session.predict(omlab.read("ct.nii.gz"))
    ```

    Every verb of the card is a method for one case; `apply` does a batch. Both give what the card promises, or an
    `OmlabError` that says what was wrong. Calls from several threads are done one after the other.

    Args:
        model: What the card's entry gave.
        card: The card, or that of an adapted model.
        identity: Which model exactly: card, package versions, digests of weights, settings, needs. JSON, no time.
        name: As messages call it.
        is_untrained: Its weights are drawn at random: what it gives means nothing.
        gates: What looks at inputs and results of which the card expects something.
    """

    def __init__(
        self,
        model: Model,
        *,
        card: ModelCard,
        identity: Mapping[str, Any],
        name: str,
        is_untrained: bool = False,
        gates: Gates | None = None,
    ) -> None:
        self.model = model
        self.card = card
        self.identity = dict(identity)
        self.name = name
        self.is_untrained = is_untrained
        self.gates = gates or Gates()
        self._turn = threading.Lock()
        self._holder: int | None = None

    def __repr__(self) -> str:
        return f"<Session {self.name}: {', '.join(self.card.does) or 'no verbs'}>"

    def __getattr__(self, verb: str) -> Callable[..., Payload]:
        if verb.startswith("_") or "card" not in vars(self):
            raise AttributeError(verb)
        if verb not in self.card.does:
            raise AttributeError(f"'{self.name}' does not {verb}; it does {', '.join(self.card.does) or 'nothing'}.")

        def once(payload: Payload | None = None, /, **named: Any) -> Payload:
            facts = self.card.does[verb]
            for name in named:
                if name not in facts.takes and name not in facts.options:
                    hint = did_you_mean(name, [*facts.takes, *facts.options], none="it has none.")
                    raise UsageError(f"'{verb}' of '{self.name}' has no input or option '{name}': {hint}")
            inputs = {name: value for name, value in named.items() if name in facts.takes and value is not None}
            options = {name: value for name, value in named.items() if name not in facts.takes}
            if payload is not None:
                inputs = {place_of(facts, payload, taken=inputs, name=self.name): payload, **inputs}
            result = self.apply(verb, [inputs], **options)[0]
            if isinstance(result, OmlabError):
                raise result
            return result

        once.__name__ = verb
        once.__doc__ = f"What '{self.name}' gives for one case by `{verb}`."
        return once

    def verb(self, verb: str) -> Verb:
        """What the card says of a verb. Raises `UsageError` where the model does not have it."""
        return verb_of(self.card, verb, name=self.name)

    def options(self, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options of a call: the given ones, checked, and the defaults. Raises `SettingsError`."""
        try:
            return complete(self.verb(verb).options, given, of=f"'{verb}' of '{self.name}'")
        except SettingsError as error:
            raise SettingsError(str(error).replace("has no setting", "has no option")) from None

    def prepare(self, verb: str, inputs: Inputs, **options: Any) -> Prepared:
        """Check the inputs of one case and do what needs no network; for the threads that read ahead.

        Raises `UsageError`, `InputError` or `GeometryError` where they cannot be used.
        """
        facts = self.verb(verb)
        check_inputs(facts, inputs, name=self.name)
        found = self.gates.inputs(facts, inputs)
        value: Any = inputs
        if keeps(self.model, Prepares):
            value = self.model.prepare(verb, inputs, **self.options(verb, options))
        return Prepared(inputs=inputs, value=value, found=found)

    def apply(self, verb: str, batch: Sequence[Inputs | Prepared], /, **options: Any) -> list[Payload | OmlabError]:
        """The results of a batch in its order; an `OmlabError` stands for a case that failed.

        Of a batch that fails, what was given before the exception is kept and the rest is done one by one.

        Raises:
            UsageError: The model does not have the verb.
            SettingsError: An option is unknown or has a value that it cannot have.
            WrongCountError: The model gives more or fewer results than cases.
            DeviceError: The device is lost.
        """
        chosen = self.options(verb, options)
        results: dict[int, Payload | OmlabError] = {}
        ready: dict[int, Prepared] = {}
        for index, case in enumerate(batch):
            try:
                ready[index] = case if isinstance(case, Prepared) else self.prepare(verb, case, **chosen)
            except Exception as error:  # fails its case and no other
                results[index] = self._failed(error, verb)
        with self._held():
            results.update(zip(ready, self._called(verb, list(ready.values()), chosen), strict=True))
        return [results[index] for index in range(len(batch))]

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One call after the other. Raises `UsageError` where this very thread streams: it would wait for itself."""
        if self._holder == threading.get_ident():
            raise UsageError(f"'{self.name}' is streaming in this thread: end or close that first.")
        with self._turn:
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                self._holder = None

    def stream(self, verb: str, inputs: Inputs, /, **options: Any) -> Iterator[Delta | Payload]:
        """Parts of one result as they come; the last item is the whole. Closing the iterator cancels.

        Raises `UsageError` where the verb does not stream.
        """
        facts = self.verb(verb)
        if not facts.streams or not keeps(self.model, Streams):
            raise UsageError(f"'{verb}' of '{self.name}' does not stream.")
        check_inputs(facts, inputs, name=self.name)
        self.gates.inputs(facts, inputs)
        last: Delta | Payload | None = None
        with self._held():
            source = self.model.stream(verb, inputs, **self.options(verb, options))
            try:
                for last in source:
                    if not isinstance(last, Delta):
                        self._check_result(verb, inputs, last)
                    yield last
            except OmlabError:
                raise
            except Exception as error:
                raise self._failed(error, verb) from error
            finally:
                close = getattr(source, "close", None)
                if close is not None:
                    close()
        if last is None or isinstance(last, Delta):
            raise PluginError(f"'{verb}' of '{self.name}' streamed no result: its last item must be {an(facts.gives)}.")

    def _called(self, verb: str, cases: list[Prepared], options: Mapping[str, Any]) -> Sequence[Payload | OmlabError]:
        """The results of cases: by one call, or by as many at once as the card says that an endpoint bears."""
        facts = self.card.does[verb]
        if facts.concurrency == 1:
            return self._done(verb, cases, options)
        parts = [cases[first : first + facts.batch] for first in range(0, len(cases), facts.batch)]
        with ThreadPoolExecutor(max_workers=facts.concurrency, thread_name_prefix="omlab-call") as pool:
            # each call in a copy of the context, where warnings find their case
            calls = [pool.submit(copy_context().run, self._done, verb, part, options) for part in parts]
            return [result for call in calls for result in call.result()]

    def _done(self, verb: str, batch: list[Prepared], options: Mapping[str, Any]) -> list[Payload | OmlabError]:
        """The results of a batch. Of one that fails, what was given before is kept and the rest is done one by one."""
        given: list[Payload | OmlabError] = []
        what = f"'{verb}' of '{self.name}'"
        if not batch:
            return given
        try:
            for answer in getattr(self.model, verb)([case.value for case in batch], **options):
                if len(given) == len(batch):
                    raise WrongCountError(f"{what} gave more than {len(batch)} results for a batch of as many.")
                given.append(self._checked(verb, batch[len(given)], answer))
            if len(given) < len(batch):
                raise WrongCountError(f"{what} gave {len(given)} results for a batch of {len(batch)}.")
            return given
        except WrongCountError:
            raise
        except Exception as error:
            failed = self._failed(error, verb)
            if isinstance(failed, DeviceError):
                raise failed from error
            if len(batch) == 1:
                return given or [failed]
            del failed  # what it holds of the batch must be free before the rest is tried
        return given + [self._done(verb, [case], options)[0] for case in batch[len(given) :]]

    def _failed(self, error: Exception, verb: str) -> OmlabError:
        """What a user is told of an error; those raised on purpose stay as they are."""
        if isinstance(error, OmlabError):
            return error
        failed: OmlabError
        if _is_lost(error):
            failed = DeviceError(f"The device is lost ({first_line(error)}): start the command again.")
        elif type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
            failed = InputError(
                f"There is not enough memory for this case: {first_line(error)}; "
                "use a smaller batch or window, or the cpu."
            )
        else:
            what = f"unexpected {type(error).__name__} in '{verb}' of '{self.name}'"
            failed = UnexpectedError(f"{what}: {first_line(error)}{where(error)}")
        failed.__cause__ = error
        return failed

    def _checked(self, verb: str, case: Prepared, answer: Any) -> Payload | OmlabError:
        if isinstance(answer, OmlabError):
            return answer
        try:
            self._check_result(verb, case.inputs, answer)
        except OmlabError as error:
            return error
        return self.told(verb, case, answer)

    def told(self, verb: str, case: Prepared, result: Payload) -> Payload:
        """A result that tells what the gate found of its inputs and of itself, where it tells anything."""
        found = {**case.found, **self.gates.result(self.card.does[verb], result)}
        if not found or not keeps(result, Telling):
            return result
        told: Payload = result.telling({**result.tells(), "gate": found})
        return told

    def _check_result(self, verb: str, inputs: Inputs, answer: Any) -> None:
        """Raise where a result is not what the card promises: kind, grid, frame, finite numbers."""
        facts, what = self.card.does[verb], f"'{verb}' of '{self.name}'"
        if getattr(type(answer), "kind", None) != facts.gives:
            raise BrokenPromiseError(f"{what} gave {an(describe(answer))}, but its card promises {an(facts.gives)}.")
        parts = list(answer.parts().values()) if keeps(answer, Compound) else [answer]
        grid, frame = (inputs.get(name) if name else None for name in (facts.grid, facts.frame))
        for part in parts:
            if keeps(part, Checked) and not part.is_finite():
                raise BrokenPromiseError(f"{what} gave numbers that are NaN or infinite.")
            if grid is not None and keeps(part, Spatial) and not part.same_grid(grid):
                raise MisplacedError(f"{what} gave {an(describe(part))} that does not lie on the grid of its input.")
            if frame is not None and keeps(part, Framed) and not part.same_frame(frame):
                raise MisplacedError(f"{what} gave {an(describe(part))} in another space than its input.")


class BrokenPromiseError(OmlabError):
    """A result is not what the card of its model promises; fails the case."""


class MisplacedError(BrokenPromiseError, GeometryError):
    """A result lies elsewhere than its card promises; fails the case."""


class UnexpectedError(OmlabError):
    """A bug in a model; fails the case, and its traceback is kept in the log."""


class WrongCountError(PluginError):
    """A verb gave more or fewer results than it was given cases: which is whose cannot be told. Ends a run."""


def verb_of(card: ModelCard, verb: str, *, name: str) -> Verb:
    """What a card says of a verb. Raises `UsageError` ('did you mean')."""
    if verb not in card.does:
        raise UsageError(
            f"'{name}' has no verb '{verb}': {did_you_mean(verb, card.does, none='it can only be trained.')}"
        )
    return card.does[verb]


def check_inputs(facts: Verb, inputs: Inputs, *, name: str) -> None:
    """Raise where inputs are missing, unknown, of another kind, of a sort that is not taken, or do not belong together.

    Raises:
        UsageError: A name or kind is wrong, or a required input is not there.
        GeometryError, InputError: An input does not belong to the others.
    """
    if not isinstance(inputs, Mapping):
        raise UsageError(
            f"The inputs of a case are payloads by name, but {an(describe(inputs))} was given to '{name}'."
        )
    for unknown in inputs:
        if unknown not in facts.takes:
            hint = did_you_mean(unknown, facts.takes, none="it takes none.")
            raise UsageError(f"'{name}' has no input '{unknown}': {hint}")
    for required in facts.required:
        if required not in inputs:
            accepted = facts.accepts.get(required)
            which = f" ({' or '.join(accepted)})" if accepted else ""
            raise UsageError(
                f"'{name}' needs the input '{required}', {an(facts.kinds[required])}{which}: give {required}=FILE."
            )
    for given, value in inputs.items():
        wanted = facts.kinds[given]
        if describe(value) != wanted:
            raise UsageError(f"The input '{given}' of '{name}' is {an(wanted)}, but {an(describe(value))} was given.")
        accepted = facts.accepts.get(given)
        if accepted is not None and keeps(value, Facetted):
            refused = sorted(value.facets() - set(accepted))
            if refused:
                raise UsageError(f"'{name}' takes no {refused[0]} in '{given}'; it takes {' and '.join(accepted)}.")
        if keeps(value, Dependent):
            value.check_belongs({other: part for other, part in inputs.items() if other != given})


def place_of(facts: Verb, payload: Payload, *, taken: Mapping[str, Any], name: str) -> str:
    """The input that a payload without a name is: by its kind, where that occurs once among those that are free.

    Raises `UsageError` where none or several have its kind.
    """
    kind = describe(payload)
    free = [place for place, wanted in facts.kinds.items() if wanted == kind and place not in taken]
    required = [place for place in free if place in facts.required]
    found = required if len(free) > 1 and len(required) == 1 else free
    if len(found) != 1:
        takes = ", ".join(f"{place} ({wanted})" for place, wanted in facts.kinds.items())
        why = "several inputs are of that kind" if found else f"it takes {takes}"
        raise UsageError(f"'{name}' was given {an(kind)} without a name, but {why}: name the input.")
    return found[0]


def _is_lost(error: Exception) -> bool:
    """Whether the device cannot be used any more: CUDA errors but for memory stay for the whole process."""
    name, text = type(error).__name__, str(error)
    return name == "AcceleratorError" or (
        name == "RuntimeError" and "CUDA error" in text and "out of memory" not in text
    )
