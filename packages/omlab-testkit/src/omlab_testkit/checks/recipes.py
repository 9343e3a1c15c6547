"""Checks of recipes: they leave the model as it is, make the same batches each time, and train."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab.card_schema import Verb
from omlab.jobs.adapt import verbs_of
from omlab.surveys import Surveyed
from omlab_testkit.checks import check
from omlab_testkit.checks.models import check_comes_back
from omlab_testkit.checks.verbs import check_result
from omlab_testkit.compare import difference, fingerprint
from omlab_testkit.loading import quiet
from omlab_testkit.networks import as_sent, network, weights_digest
from omlab_testkit.outcome import PromiseError
from omlab_testkit.subjects import RecipeSubject

if TYPE_CHECKING:
    from torch import nn

_PARTS = ("module", "batches", "steps", "epoch", "fingerprint", "how", "groups", "schedule", "loss", "validate")


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A model that was retargeted, and the recipe on it."""

    model: Any
    recipe: Any


def get_ready(subject: RecipeSubject, folder: Path, *, seed: int = 0) -> Ready:
    """The copy of the untrained model that is trained, and its recipe, in the order in which an adapter calls."""
    data, settings = Surveyed(subject.data, folder=folder), subject.recipe_settings
    with quiet():
        about = data.about("train")
        model = subject.model.retarget(subject.recipe, about, settings=settings, seed=seed)
        return Ready(model=model, recipe=model.recipe(subject.recipe, data, settings=settings, seed=seed))


@check(of="recipe")
def recipe_leaves_the_model(subject: RecipeSubject, folder: Path) -> None:
    """`retarget` gives a copy and leaves the model as it is; `recipe` leaves as it is what it is asked of."""
    base = network(subject.model, name=subject.name)
    before = weights_digest(base)
    data, settings = Surveyed(subject.data, folder=folder), subject.recipe_settings
    with quiet():
        about = data.about("train")
        model = subject.model.retarget(subject.recipe, about, settings=settings, seed=0)
    module = network(model, name=subject.name)
    if module is base or _ids(module) & _ids(base):
        raise PromiseError(f"{subject.what} changes the model that it is made from: retarget must give a copy.")
    retargeted = weights_digest(module)
    with quiet():
        model.recipe(subject.recipe, data, settings=settings, seed=0)
    if weights_digest(module) != retargeted or model.module is not module:
        raise PromiseError(f"{subject.what} changes the model that it is to train: recipe() must leave it as it is.")
    if weights_digest(base) != before:
        raise PromiseError(f"{subject.what} changes the model that it is made from: retarget must give a copy.")


@check(of="recipe")
def retargeted_model_does_what_it_says(subject: RecipeSubject, folder: Path) -> None:
    """A retargeted model has the verbs that its card and recipe say, and comes back from `config()` and its weights."""
    ready = get_ready(subject, folder)
    does = {verb: Verb.model_validate(facts) for verb, facts in verbs_of(subject.model_card, subject.recipe).items()}
    held = subject.held(ready.model, does=does)
    for verb in does:
        if not callable(getattr(ready.model, verb, None)):
            raise PromiseError(
                f"A model trained by {subject.what[0].lower()}{subject.what[1:]} has no method '{verb}'."
            )
        pattern = verb if verb in subject.model_card.does else next(iter(subject.model_card.does))
        case = subject.of_verb(pattern).cases[0]
        with quiet():
            result = held.apply(verb, [case])[0]
        if isinstance(result, Exception):
            raise PromiseError(
                f"A model retargeted by '{subject.recipe}' fails to {verb}: {result}"
            ) from result.__cause__
        if verb in subject.model_card.does and does[verb] == subject.model_card.does[verb]:
            check_result(subject.of_verb(verb), case, result, what="a retargeted model")
    check_comes_back(subject, ready.model, folder / "adapted.safetensors", what="The retargeted model", does=does)


@check(of="recipe", loop="omlab")
def recipe_has_its_parts(subject: RecipeSubject, folder: Path) -> None:
    """A recipe has all parts of `omlab_train.Recipe`; its steps, rates and groups are such as can be trained with."""
    ready = get_ready(subject, folder)
    recipe, what = ready.recipe, subject.what
    lacking = [name for name in _PARTS if not hasattr(recipe, name)]
    if lacking:
        raise PromiseError(f"{what} has no {', '.join(lacking)}.")
    if not _ids(recipe.module) & _ids(network(ready.model, name=subject.name)):
        raise PromiseError(f"{what} does not train the network of its model: its module is another one.")
    if not (isinstance(recipe.steps, int) and isinstance(recipe.epoch, int) and min(recipe.steps, recipe.epoch) >= 1):
        raise PromiseError(f"{what} has {recipe.steps!r} steps in epochs of {recipe.epoch!r}; at least 1 is needed.")
    for step in {0, recipe.steps // 2, recipe.steps - 1}:
        factor = recipe.schedule(step)
        if not isinstance(factor, int | float) or not math.isfinite(factor) or factor < 0:
            raise PromiseError(f"{what} has the rate factor {factor!r} in step {step}.")
    own = _ids(recipe.module)
    grouped = [id(parameter) for group in recipe.groups() for parameter in group["params"]]
    if not set(grouped) <= own or len(set(grouped)) != len(grouped) or not grouped:
        raise PromiseError(f"The groups of {what[0].lower()}{what[1:]} must hold parameters of its network, each once.")
    if any("lr" not in group or "weight_decay" not in group for group in recipe.groups()):
        raise PromiseError(f"A group of {what[0].lower()}{what[1:]} lacks its 'lr' or 'weight_decay'.")
    if not isinstance(recipe.fingerprint, str) or get_ready(subject, folder).recipe.fingerprint != recipe.fingerprint:
        raise PromiseError(f"The fingerprint of {what[0].lower()}{what[1:]} is another one each time.")


@check(of="recipe", loop="omlab")
def batches_are_a_function_of_seed_and_step(subject: RecipeSubject, folder: Path) -> None:
    """A batch is the same for the same seed and number, in whatever order and process; `batches` holds no network."""
    batches = get_ready(subject, folder).recipe.batches
    again = get_ready(subject, folder).recipe.batches
    with quiet():
        wanted = [batches(number) for number in range(3)]
        backwards = [again(number) for number in (2, 1, 0)][::-1]
        sent = as_sent(batches, what=f"`batches` of the recipe '{subject.recipe}' of '{subject.name}'")
        elsewhere = [sent(number) for number in range(3)]
    for found, how in ((backwards, "when asked for in another order"), (elsewhere, "in another process")):
        problem = difference(found, wanted, where="it")
        if problem:
            raise PromiseError(f"A batch of '{subject.id}' is another one {how}: {problem}; use seed and step alone.")
    batch = copy.deepcopy(wanted[0])
    if fingerprint(batch) != fingerprint(wanted[0]):
        raise PromiseError(f"A batch of '{subject.id}' is not plain data: give (nested) dicts or lists of tensors.")


@check(of="recipe", loop="omlab")
def one_step_trains(subject: RecipeSubject, folder: Path) -> None:
    """The loss is one finite number, made by calling `module` alone, and one step changes the weights that learn."""
    import torch

    ready = get_ready(subject, folder)
    recipe, module = ready.recipe, network(ready.model, name=subject.name)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    groups = recipe.groups()  # asked for before the loop wraps the module
    whole = recipe.module  # the model's network, or one that it is part of
    recipe.module = _wrapped(whole)
    recipe.module.train()
    with quiet():
        try:
            loss, figures = recipe.loss(recipe.batches(0))
        except AttributeError as error:
            raise PromiseError(f"The loss of '{subject.id}' uses more of `module` than a call: {error}.") from error
    if loss.ndim or not bool(torch.isfinite(loss)):
        raise PromiseError(f"The loss of '{subject.id}' is {loss}, not one finite number.")
    if not isinstance(figures, Mapping) or not all(isinstance(value, int | float) for value in figures.values()):
        raise PromiseError(f"The loss of '{subject.id}' comes without its mapping of figures, which are numbers.")
    loss.backward()
    _step([parameter for group in groups if group["lr"] for parameter in group["params"]])
    after = dict(module.named_parameters())
    if all(torch.equal(before[name], after[name].detach()) for name in before):
        raise PromiseError(f"A step of '{subject.id}' changes no weight of the model.")
    recipe.module.eval()
    with torch.no_grad(), quiet():
        figures = recipe.validate()
    if figures is not None and not all(isinstance(value, int | float) for value in dict(figures).values()):
        raise PromiseError(f"validate() of '{subject.id}' must give figures by name, or None.")


def _ids(module: nn.Module) -> set[int]:
    """Which parameters a network has."""
    return {id(parameter) for parameter in module.parameters()}


def _step(parameters: Sequence[Any]) -> None:
    """A step of plain gradient descent: an optimizer of torch would import its compiler first, for ten seconds."""
    import torch

    with torch.no_grad():
        for parameter in parameters:
            if parameter.requires_grad and parameter.grad is not None:
                parameter -= 0.1 * parameter.grad


def _wrapped(module: nn.Module) -> nn.Module:
    """A network that can be called and nothing else, as one that is spread over processes is."""
    from torch import nn

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *args: Any, **more: Any) -> Any:
            return self.inner(*args, **more)

    return Wrapped()


@check(of="recipe", loop="own")
def own_loop_trains_and_resumes(subject: RecipeSubject, folder: Path) -> None:
    """A recipe with a loop of its own trains in place, gives a history (JSON), and goes on from its folder."""
    work = folder / "work"
    work.mkdir()
    runs = []
    for _ in range(2):
        ready = get_ready(subject, folder)
        module = network(ready.model, name=subject.name)
        before = weights_digest(module)
        if not callable(getattr(ready.recipe, "run", None)):
            raise PromiseError(f"{subject.what} says loop = \"own\", but has no method 'run'.")
        with quiet():
            history = ready.recipe.run(device="cpu", folder=work, seed=0)
        runs.append((history, dict(module.state_dict()), weights_digest(module) != before))
    history, state, has_changed = runs[0]
    if not has_changed:
        raise PromiseError(f"{subject.what} changes no weight of its network.")
    try:
        rows = json.loads(json.dumps(history, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise PromiseError(f"The history of '{subject.id}' is not JSON: {error}.") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise PromiseError(f"The history of '{subject.id}' must be rows such as {{'epoch': 1, 'loss': 0.3}}.")
    found = difference(runs[1][1], state, where="its state dict") or difference(
        runs[1][0], history, where="its history"
    )
    if found:
        raise PromiseError(f"{subject.what} does not go on from a folder in which it was done: {found}.")
