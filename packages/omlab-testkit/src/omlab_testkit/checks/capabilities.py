"""Checks of what a model says that it can do beyond predicting."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omlab.card_schema import PROMPT_KINDS
from omlab.errors import OmlabError, OmlabWarning
from omlab.registry import registry
from omlab.roles import BatchPredict, Embeds, Finetunable, Promptable, Sample, SimulatesClicks
from omlab_testkit.checks import check
from omlab_testkit.checks.predict import check_prediction
from omlab_testkit.compare import ROUNDING, all_finite, as_array, difference, fingerprint, is_array
from omlab_testkit.kit import ModelSubject, network, other_weights
from omlab_testkit.outcome import PromiseError
from omlab_testkit.project import overrides

PROTOCOLS: dict[str, Any] = {
    "batch": BatchPredict,
    "embed": Embeds,
    "finetune": Finetunable,
    "simulate": SimulatesClicks,
    **dict.fromkeys(PROMPT_KINDS, Promptable),
}


@check(of="model")
def capabilities_are_implemented(subject: ModelSubject, folder: Path) -> None:
    """A model has the methods of every capability that its card names, and `predict`."""
    if not callable(getattr(subject.model, "predict", None)):
        raise PromiseError(f"'{subject.name}' has no method 'predict'.")
    for capability in subject.model_card.capabilities:
        protocol = PROTOCOLS.get(capability)
        if protocol is not None and not isinstance(subject.model, protocol):
            names = {*vars(protocol), *protocol.__annotations__}
            wanted = sorted(name for name in names if name[0] != "_" and not hasattr(subject.model, name))
            raise PromiseError(f"'{subject.name}' declares '{capability}' but has no {', '.join(wanted)}.")


@check(of="model")
def parameters_are_counted_right(subject: ModelSubject, folder: Path) -> None:
    """The number of parameters on the card is the network's, within two per cent."""
    stated, module = subject.model_card.parameters, getattr(subject.model, "module", None)
    if stated is None or module is None:
        return
    counted = sum(parameter.numel() for parameter in module.parameters())
    if abs(counted - stated) > 0.02 * counted:
        raise PromiseError(f"'{subject.name}' has {counted} parameters, not {stated} as its card says.")


@check(of="model", capability="embed")
def embedding_is_a_vector(subject: ModelSubject, folder: Path) -> None:
    """An embedding is a finite float32 vector, of the same length for every input, and the same each time."""
    vectors = [subject.model.embed(payload) for payload in subject.inputs]
    for vector in vectors:
        if not is_array(vector):
            raise PromiseError(f"'{subject.name}' embeds into a {type(vector).__name__}, not an array.")
        array = as_array(vector)
        if array.ndim != 1 or str(array.dtype) != "float32" or array.shape != as_array(vectors[0]).shape:
            raise PromiseError(f"'{subject.name}' embeds into {array.dtype} of shape {array.shape}, not (features,).")
        if not all_finite(array):
            raise PromiseError(f"'{subject.name}' embeds into NaN or infinity.")
    found = difference(subject.model.embed(subject.inputs[0]), vectors[0], where="a second embedding")
    if found:
        raise PromiseError(f"'{subject.name}' does not embed deterministically: {found}.")


@check(of="model", capability="finetune")
def saved_model_comes_back(subject: ModelSubject, folder: Path) -> None:
    """A model built again from its `config()` and saved weights predicts the same; `config()` is JSON."""
    model = subject.load()
    module = network(model, name=subject.name)
    module.load_state_dict(other_weights(module.state_dict()))  # not what an untrained network has anyway
    _check_comes_back(subject, model, folder / "base.safetensors", what="The model")
    adapted = model.retarget(example_samples(subject), seed=0)
    _check_comes_back(subject, adapted, folder / "adapted.safetensors", what="The retargeted model")


def _check_comes_back(subject: ModelSubject, model: Any, path: Path, *, what: str) -> None:
    from omlab.weights import save_state_dict

    try:
        config = json.loads(json.dumps(model.config()))
    except (TypeError, ValueError) as error:
        raise PromiseError(f"config() of '{subject.name}' is not JSON: {error}.") from None
    save_state_dict(model.module.state_dict(), path)
    try:
        again = subject.load(weights=path, config=config)
    except OmlabError as error:
        raise PromiseError(
            f"{what} '{subject.name}' cannot be built again from config() and its weights: {error}"
        ) from None
    found = difference(dict(again.module.state_dict()), dict(model.module.state_dict()), where="its state dict")
    if found:
        raise PromiseError(f"{what} '{subject.name}' has other weights after saving and building again: {found}.")
    payload = subject.inputs[0]
    given, wanted = (subject.predict(payload, model=one) for one in (again, model))
    found = difference(given, wanted, tolerance=ROUNDING, where="its prediction")
    if found:
        raise PromiseError(f"{what} '{subject.name}' is not the same after saving and building again: {found}.")


@check(of="model", capability="finetune")
def finetuning_trains(subject: ModelSubject, folder: Path) -> None:
    """Retargeting leaves the model as it is; its training task has a finite loss, and one step changes the weights."""
    import torch

    samples = example_samples(subject)
    before = fingerprint(dict(network(subject.model, name=subject.name).state_dict()))
    adapted = subject.model.retarget(samples, seed=0)
    payload = samples[0].payload
    check_prediction(subject, payload, subject.predict(payload, model=adapted), what="a retargeted example")
    task = _training_task(subject, adapted, samples)
    batch, again = task.batch(0), task.batch(0)
    if difference(again, batch):
        raise PromiseError(
            f"batch(0) of the training task of '{subject.name}' is another each time: use seed and step."
        )
    task.module.train()
    weights = copy.deepcopy(task.module.state_dict())
    loss, figures = task.loss(batch)
    if loss.ndim or not bool(torch.isfinite(loss)):
        raise PromiseError(f"The training loss of '{subject.name}' is {loss}, not one finite number.")
    if not isinstance(figures, Mapping):
        raise PromiseError(f"The loss of '{subject.name}' comes without its mapping of figures.")
    optimizer = task.optimizer()
    for group in optimizer.param_groups:
        group["lr"] = task.learning_rate(0)
    loss.backward()
    optimizer.step()
    trained = dict(task.module.named_parameters())
    if all(torch.equal(weights[name], parameter.detach()) for name, parameter in trained.items()):
        raise PromiseError(f"A training step changes no weight of '{subject.name}'.")
    if fingerprint(dict(subject.model.module.state_dict())) != before:
        raise PromiseError(f"Fine-tuning changes the model '{subject.name}' that it started from: retarget a copy.")


def _training_task(subject: ModelSubject, model: Any, samples: Sequence[Sample]) -> Any:
    defaults = {
        name: setting.get("default")
        for offer in registry().cards("adapter")
        if offer.data.get("capability") == "finetune"
        for name, setting in offer.data.get("settings", {}).items()
    }
    settings = defaults | overrides(subject.kit.project.training, subject.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabWarning)
        return model.training_task(samples, settings=settings, seed=0)


def example_samples(subject: ModelSubject) -> list[Sample]:
    """Samples made of the example inputs and the example targets of the kind that the model gives."""
    targets = subject.examples(subject.model_card.gives)
    if len(targets) != len(subject.inputs):
        raise PromiseError(
            f"There are {len(subject.inputs)} example inputs but {len(targets)} targets for '{subject.name}'."
        )
    pairs = zip(subject.inputs, targets, strict=True)
    return [
        Sample(id=f"example-{n}", payload=payload, target=target, group=f"{n}")
        for n, (payload, target) in enumerate(pairs)
    ]
