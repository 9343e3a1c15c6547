"""Checks of what every model does: predict."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omlab.formats import format_cards
from omlab.roles import Pictured, Spatial
from omlab_testkit.checks import check
from omlab_testkit.compare import ROUNDING, Tolerance, all_finite, difference, fingerprint
from omlab_testkit.kit import ModelSubject
from omlab_testkit.outcome import CannotCheckError, PromiseError

_PNG = b"\x89PNG\r\n\x1a\n"
GPU = Tolerance(relative=1e-3, labels=2e-3)
"""What a GPU's arithmetic may change in float32."""


@check(of="model")
def predict_keeps_geometry(subject: ModelSubject, folder: Path) -> None:
    """A prediction is of the kind that the card says, finite, and lies on the grid of its input."""
    for index, payload in enumerate(subject.inputs):
        check_prediction(subject, payload, subject.prediction(index), what=f"example {index}")


def check_prediction(subject: ModelSubject, payload: Any, prediction: Any, *, what: str) -> None:
    """Raise `PromiseError` where `prediction` is of another kind than the card's, not finite, or on another grid."""
    gives = subject.model_card.gives
    kind = getattr(prediction, "kind", None)
    if kind != gives:
        raise PromiseError(f"'{subject.name}' gives {gives} by its card, but {kind} for {what}.")
    if not all_finite(prediction):
        raise PromiseError(f"'{subject.name}' predicts NaN or infinity for {what}.")
    if isinstance(prediction, Spatial) and isinstance(payload, Spatial) and not prediction.same_grid(payload):
        raise PromiseError(f"The prediction of '{subject.name}' for {what} is not on the grid of its input.")


@check(of="model")
def predict_is_deterministic(subject: ModelSubject, folder: Path) -> None:
    """The same input gives the same prediction again, is itself not changed, and nothing touches the network."""
    subject.prediction(0)
    payload = subject.inputs[0]
    before = fingerprint(payload)
    with no_network() as attempts:
        again = subject.predict(payload)
    if attempts:
        raise PromiseError(f"'{subject.name}' touches the network when it predicts: {attempts[0]}.")
    if fingerprint(payload) != before:
        raise PromiseError(f"'{subject.name}' changes its input when it predicts.")
    found = difference(again, subject.prediction(0), where="a second prediction")
    if found:
        raise PromiseError(f"'{subject.name}' is not deterministic: {found}.")


@check(of="model", capability="batch")
def batch_equals_one_at_a_time(subject: ModelSubject, folder: Path) -> None:
    """Several inputs at once give, in their order, what each of them gives alone (up to rounding)."""
    if subject.model_card.needs_prompts:
        raise CannotCheckError("a model that needs prompts takes one input at a time")
    together = list(subject.model.predict_batch(subject.inputs))
    if len(together) != len(subject.inputs):
        raise PromiseError(f"'{subject.name}' gives {len(together)} predictions for {len(subject.inputs)} inputs.")
    for index, prediction in enumerate(together):
        found = difference(prediction, subject.prediction(index), tolerance=ROUNDING, where="it")
        if found:
            raise PromiseError(f"'{subject.name}' predicts example {index} differently in a batch: {found}.")


@check(of="model")
def prediction_has_a_picture(subject: ModelSubject, folder: Path) -> None:
    """A prediction whose kind a format card calls pictured draws itself over its input as a PNG, the same each time."""
    gives = subject.model_card.gives
    if not any(gives in card.pictured for card in format_cards()):
        return
    payload, prediction = subject.inputs[0], subject.prediction(0)
    if not isinstance(prediction, Pictured):
        raise PromiseError(f"A {gives} is pictured by a format's card, but that of '{subject.name}' has no overlay().")
    prompts = subject.prompts(payload) if subject.model_card.needs_prompts else None
    picture = prediction.overlay(payload, prompts=prompts)
    if not picture.startswith(_PNG):
        raise PromiseError(f"The overlay of a {gives} is no PNG: it begins with {picture[:8]!r}.")
    if prediction.overlay(payload, prompts=prompts) != picture:
        raise PromiseError(f"The overlay of a {gives} is another one each time.")


@check(of="model", gpu=True)
def gpu_equals_cpu(subject: ModelSubject, folder: Path) -> None:
    """A GPU gives what the CPU gives, up to rounding; of classes at most 0.2 % of the entries differ."""
    import torch

    if not torch.cuda.is_available():
        raise CannotCheckError("there is no CUDA device here")
    on_gpu = subject.load(device="cuda")
    if hasattr(subject.model, "module"):  # an untrained network need not be the same each time
        on_gpu.module.load_state_dict(subject.model.module.state_dict())
    for index, payload in enumerate(subject.inputs):
        found = difference(
            subject.predict(payload, model=on_gpu), subject.prediction(index), tolerance=GPU, where="its prediction"
        )
        if found:
            raise PromiseError(f"'{subject.name}' on a GPU differs from the CPU for example {index}: {found}.")


@contextmanager
def no_network() -> Iterator[list[str]]:
    """Refuse every connection; gives the list of addresses that were tried."""
    attempts: list[str] = []

    def refuse(self: socket.socket, address: Any) -> None:
        attempts.append(str(address))
        raise OSError("the test kit allows no network here")

    connect = socket.socket.connect
    socket.socket.connect = refuse  # type: ignore[method-assign,assignment]
    try:
        yield attempts
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
