"""Checks of the key table of a weights file, with a checkpoint made up from the untrained network.

The made-up file has the nesting (`wrapper`) and key `prefix` that the card says of the published one,
without the entries that the card says are missing and with one for each that is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab.card_schema import WeightsFile
from omlab.errors import OmlabError, WeightsError
from omlab_testkit.checks import check
from omlab_testkit.compare import ROUNDING, difference
from omlab_testkit.kit import WeightsSubject, network, other_weights
from omlab_testkit.outcome import PromiseError

if TYPE_CHECKING:
    from torch import Tensor


@check(of="weights")
def checkpoint_loads_by_its_key_table(subject: WeightsSubject, folder: Path) -> None:
    """A checkpoint with the wrapper, prefix, missing and dropped keys of the card arrives whole in the network."""
    file = subject.file
    state = other_weights(network(subject.model, name=subject.name).state_dict())
    _check_patterns(subject, state)
    kept = {key: tensor for key, tensor in state.items() if not _matches(key, file.missing)}
    path = write_checkpoint(kept, folder, file=file)
    try:
        loaded = subject.load(weights=path)
    except OmlabError as error:
        raise PromiseError(f"A checkpoint made as the card of '{subject.id}' says does not load: {error}") from None
    arrived = network(loaded, name=subject.name).state_dict()
    for key, tensor in kept.items():
        found = difference(arrived.get(key), tensor, where=f"'{key}'")
        if found:
            raise PromiseError(f"'{subject.id}': after loading a checkpoint {found}; it has not been loaded.")
    if not file.missing:
        _check_prediction(subject, loaded, state)


def _check_patterns(subject: WeightsSubject, state: Mapping[str, Tensor]) -> None:
    for pattern in subject.file.missing:
        if not any(fnmatchcase(key, pattern) for key in state):
            raise PromiseError(f"'{subject.id}': 'missing' has '{pattern}', which no key of the network matches.")
    for pattern in subject.file.dropped:
        known = [key for key in state if fnmatchcase(key, pattern)]
        if known:
            raise PromiseError(f"'{subject.id}': 'dropped' has '{pattern}', but the network wants '{known[0]}'.")


def _check_prediction(subject: WeightsSubject, loaded: Any, state: Mapping[str, Tensor]) -> None:
    """The loaded model predicts what a new one does that is given the same weights directly."""
    direct = subject.load()
    direct.module.load_state_dict(state)
    payload = subject.inputs[0]
    given, wanted = (subject.predict(payload, model=model) for model in (loaded, direct))
    found = difference(given, wanted, tolerance=ROUNDING, where="its prediction")
    if found:
        raise PromiseError(
            f"'{subject.id}' predicts otherwise with weights from a file than with the same ones: {found}."
        )


@check(of="weights")
def wrong_checkpoint_is_refused(subject: WeightsSubject, folder: Path) -> None:
    """A checkpoint with one key too few, one too many or one of another shape is a `WeightsError` that names it."""
    import torch

    file = subject.file
    state = dict(network(subject.model, name=subject.name).state_dict())
    state = {key: tensor for key, tensor in state.items() if not _matches(key, file.missing)}
    victim = _victim(state)
    wrong = {
        "without": ({key: tensor for key, tensor in state.items() if key != victim}, victim),
        "with the further key": ({**state, "omlab_testkit.extra": torch.zeros(2)}, "omlab_testkit.extra"),
        "with another shape of": ({**state, victim: torch.zeros(*state[victim].shape, 3)}, victim),
    }
    for number, (what, (tensors, key)) in enumerate(wrong.items()):
        (folder / str(number)).mkdir()
        path = write_checkpoint(tensors, folder / str(number), file=file)
        try:
            subject.load(weights=path)
        except WeightsError as error:
            if key not in str(error):
                raise PromiseError(f"A checkpoint {what} '{key}' is refused without naming it: {error}") from None
            continue
        raise PromiseError(f"'{subject.id}' loads a checkpoint {what} '{key}' as if nothing were wrong.")


def _victim(state: Mapping[str, Tensor]) -> str:
    """A floating-point key from the middle, if possible a bias: nothing that tells the architecture."""
    names = [key for key, tensor in state.items() if tensor.is_floating_point() and tensor.ndim]
    biases = [key for key in names if key.endswith("bias")]
    chosen = biases or names
    if not chosen:
        raise PromiseError("The network has no weights at all, but its card lists weights files.")
    return chosen[len(chosen) // 2]


def write_checkpoint(state: Mapping[str, Tensor], folder: Path, *, file: WeightsFile) -> Path:
    """Write `state` into `folder` in the form that the card says of `file`."""
    import torch

    tensors = {file.prefix + key: tensor.contiguous().clone() for key, tensor in state.items()}
    for number, pattern in enumerate(file.dropped):
        tensors[file.prefix + pattern.replace("*", f"dropped{number}")] = torch.zeros(1)
    path = folder / file.name
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(tensors, path)
        return path
    content: Any = tensors
    for part in reversed(file.wrapper.split(".") if file.wrapper else []):
        content = {part: content}
    torch.save(content, path)
    return path


def _matches(key: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)
