"""Checks of what a model does with what it cannot use: one sentence of ours, never a stranger's exception."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from omlab.errors import OmlabError, WeightsError
from omlab_testkit.checks import check
from omlab_testkit.checks.predict import check_prediction
from omlab_testkit.kit import ModelSubject
from omlab_testkit.outcome import PromiseError


class _Nonsense:
    kind: ClassVar[str] = "omlab-testkit-nonsense"


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


@check(of="model")
def wrong_payload_is_refused(subject: ModelSubject, folder: Path) -> None:
    """A payload of another kind is refused with an `OmlabError`."""
    refusal(lambda: subject.predict(_Nonsense()), what=f"A payload of another kind given to '{subject.name}'")


@check(of="model")
def odd_payloads_work_or_are_refused(subject: ModelSubject, folder: Path) -> None:
    """NaN, constant, tiny and other odd payloads give a sound prediction or an `OmlabError`."""
    for name, payload in subject.odd(subject.model_card.takes).items():
        try:
            prediction = subject.predict(payload)
        except OmlabError:
            continue
        except Exception as error:
            message = f"'{subject.name}' raises {type(error).__name__} for an input that is {name}: {error}"
            raise PromiseError(message) from error
        check_prediction(subject, payload, prediction, what=f"an input that is {name}")


@check(of="model")
def bad_weights_are_refused(subject: ModelSubject, folder: Path) -> None:
    """A weights file that is absent, empty, text or cut off is refused with a `WeightsError` that names the file."""
    files = [file for weights in subject.model_card.weights.values() for file in weights.files]
    path = folder / (files[0].name if files else "weights.safetensors")
    contents = {
        "absent": None,
        "empty": b"",
        "text": b"This is not a checkpoint.\n" * 50,
        "cut off": b"PK\x03\x04" * 20,
    }
    for what, content in contents.items():
        if content is not None:
            path.write_bytes(content)
        said = refusal(
            lambda: subject.load(weights=path),
            what=f"A weights file of '{subject.name}' that is {what}",
            wanted=WeightsError,
        )
        if path.name not in said:
            raise PromiseError(f"'{subject.name}' refuses a weights file without naming it: {said}")
