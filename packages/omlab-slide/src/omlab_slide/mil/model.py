"""A slide network as a model: bags in, classes or survival out; a heat map of what it attended to; trained on bags.

session = omlab.load_model("mil/")                                          # what omlab adapt abmil made
classes = session.predict(omlab.read("features/case.bag.zarr"))
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from omlab.answers import one_by_one
from omlab.card_schema import ModelCard
from omlab.errors import InputError, OmlabError, OmlabWarning, TrainingError, UsageError, WeightsError
from omlab.payloads import Inputs
from omlab.roles import About, Dataset
from omlab.session import Session
from omlab.weights import Weights
from omlab_payloads.classes import Classes
from omlab_payloads.scores import Scores
from omlab_slide.bag import Bag
from omlab_slide.heat import HeatMap
from omlab_slide.mil.architectures import ARCHITECTURES, Architecture, with_classes
from omlab_slide.mil.inputs import BAG, bags_of, features_of
from omlab_slide.mil.origin import Origin
from omlab_slide.mil.output import MilOutput
from omlab_slide.mil.packed import Packed
from omlab_slide.mil.task import SURVIVAL, Task

Config = Mapping[str, Any]
SEVERAL = ("packed", "logits")
"""How several slides of one case are put together: their patches in one bag, or the mean of their logits."""


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Session],
    device: str,
    settings: Mapping[str, Any],
    config: Config | None,
) -> MilModel:
    """The entry of this package's cards. Raises `WeightsError`."""
    return load_as(
        ARCHITECTURES[card.name], weights=weights, needs=needs, device=device, settings=settings, config=config
    )


def load_as(
    architecture: Architecture,
    *,
    weights: Weights | None,
    needs: Mapping[str, Session],
    device: str,
    settings: Mapping[str, Any],
    config: Config | None,
) -> MilModel:
    """A model of an architecture, for the entries of other packages' cards.

    Without `config`, weights are a published checkpoint: the network is sized by it, and its classes are numbered.
    """
    task, origin = Task(classes=("class 0", "class 1")), Origin()
    if config is not None:
        shape, task, origin = _from_config(config)
        network = architecture.network(shape)
        if weights is not None:
            weights.load(network)
    elif weights is not None:
        shape, state = architecture.read(weights.state_dict(), settings, source=str(weights.path()))
        network = architecture.network(shape)
        weights.load(network, state=state)
        task = Task(classes=tuple(f"class {n}" for n in range(shape["n_classes"])))
    else:
        shape = architecture.of_settings(settings, settings["features"], task.outputs)
        network = architecture.network(shape)
    return MilModel(
        network,
        architecture=architecture,
        shape=shape,
        task=task,
        settings=settings,
        device=device,
        origin=origin,
        slides=needs.get("encoder"),
        is_drawn=weights is None,
    )


class MilModel:
    """The verbs `predict` and `explain` and the recipes `mil` and `survival` (`omlab.roles.Trainable`).

    Args:
        module: The network.
        architecture: How it came about.
        shape: Its configuration.
        task: What it tells.
        settings: Of the card: `several`, and those of the architecture.
        device: "cpu", "cuda" or "cuda:N".
        origin: Of the features that it was trained on.
        slides: What makes bags of slides, where the user named it.
        is_drawn: Its weights are drawn at random.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        architecture: Architecture,
        shape: Config,
        task: Task,
        settings: Mapping[str, Any],
        device: str,
        origin: Origin = Origin(),  # noqa: B008  # frozen
        slides: Session | None = None,
        is_drawn: bool = False,
    ) -> None:
        self.module = module.eval().to(device)
        self.architecture, self.shape, self.task = architecture, dict(shape), task
        self.settings, self.origin, self.slides, self.is_drawn = dict(settings), origin, slides, is_drawn

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.module.parameters()).device

    def predict(self, batch: Sequence[Inputs], /) -> Iterator[Classes | Scores | OmlabError]:
        """The classes, or risk and survival, of each case: a bag, the bags of several slides, or slides."""
        return one_by_one(batch, self._predicted)

    def explain(self, batch: Sequence[Inputs], /, *, target: str) -> Iterator[HeatMap | OmlabError]:
        """What each patch weighed, relative to the mean of its slide; of networks without attention its probability.

        Args:
            batch: Cases of one slide each.
            target: The class that is asked about; "": the one that is predicted.
        """
        return one_by_one(batch, lambda inputs: self._explained(inputs, target))

    def _bags(self, inputs: Inputs) -> tuple[Bag, ...]:
        bags = bags_of(inputs, self.slides)
        for bag in bags:
            if said := self.origin.unlike(Origin.of(bag)):
                warnings.warn(f"{_name(bag)} has {said}: what it gives may mean nothing.", OmlabWarning, stacklevel=2)
        return bags

    def _output(self, bags: Sequence[Bag]) -> MilOutput:
        """What the network gives of the bags of a case."""
        features = [features_of(bag, width=self.shape["embed_dim"], name=_name(bag)) for bag in bags]
        packed = Packed.of(features)
        offsets = packed.offsets
        if self.settings["several"] == "packed":
            offsets = offsets[[0, -1]]
        with torch.no_grad():
            output: MilOutput = self.module(packed.features.to(self.device), offsets.to(self.device))
        return output

    def _predicted(self, inputs: Inputs) -> Classes | Scores:
        output = self._output(self._bags(inputs))
        return self.task.answer(output.logits.double().mean(dim=0).cpu())

    def _explained(self, inputs: Inputs, target: str) -> HeatMap:
        bags = self._bags(inputs)
        if len(bags) != 1:
            raise InputError(f"This case has {len(bags)} slides: ask about each of them alone.")
        output = self._output(bags)
        place, name = self._asked(output, target)
        scores = output.attention.shape[1]
        column = output.attention[:, place if scores == self.task.outputs else 0].double()
        weights = column.softmax(dim=0) * len(column)
        what = "attention" if scores == 1 else f"attention for {name}"
        if getattr(self.module, "classifies_patches", False):
            weights, what = output.attention.double().softmax(dim=1)[:, place], f"probability of {name}"
        bag = bags[0]
        return HeatMap(
            scores=weights.cpu().numpy().astype(np.float32),
            coords=bag.coords,
            size0=bag.size0,
            dimensions=bag.dimensions,
            mpp=bag.mpp,
            name=what,
        )

    def _asked(self, output: MilOutput, target: str) -> tuple[int, str]:
        """The output that is asked about and what it is called; of survival the interval of the highest hazard."""
        names = self.task.classes or tuple(f"{time:g}" for time in self.task.times)
        if target and target not in names:
            raise UsageError(f"'{target}' is none of {', '.join(names)}.")
        place = names.index(target) if target else int(output.logits[0].argmax())
        return place, names[place]

    def layers(self) -> list[list[str]]:
        """Parameter names from input to head."""
        return self.architecture.layers(self.module)

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> MilModel:
        """A copy for the classes and the width of the features of a data set; what does not fit is drawn by `seed`.

        Where the weights are drawn, all are drawn anew. Raises `TrainingError` or `SettingsError`.
        """
        task = Task.of_times(settings["times"]) if recipe == SURVIVAL else Task(classes=tuple(about.classes.values()))
        if recipe != SURVIVAL and len(task.classes) < 2:
            raise TrainingError(f"There are {len(task.classes)} classes to tell apart; at least 2 are needed.")
        if self.architecture.classes not in (None, task.outputs):
            raise TrainingError(
                f"This network tells {self.architecture.classes} classes apart, but the data have {task.outputs}: "
                f"{', '.join(task.classes)}."
            )
        facts = about.facts.get(BAG, {})
        shape = with_classes(
            self.shape, embed_dim=int(facts.get("width", self.shape["embed_dim"])), n_classes=task.outputs
        )
        shape |= {name: settings[name] for name in ("k_sample",) if name in shape and name in settings}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.architecture.network(shape)
        if not self.is_drawn:
            self._hand_down(network, keeps_heads=task == self.task)
        return MilModel(
            network,
            architecture=self.architecture,
            shape=shape,
            task=task,
            settings=self.settings,
            device=str(self.device),
            origin=Origin.from_config(facts["origin"]) if "origin" in facts else self.origin,
            slides=self.slides,
        )

    def _hand_down(self, network: nn.Module, *, keeps_heads: bool) -> None:
        """Give a network the weights of this one, as far as they have the same names and shapes."""
        own = network.state_dict()
        kept = {
            name: value
            for name, value in self.module.state_dict().items()
            if name in own and own[name].shape == value.shape
            if keeps_heads or not name.startswith(self.architecture.heads)
        }
        network.load_state_dict(kept, strict=False)

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """Training on bags (`omlab_slide.mil.training`)."""
        from omlab_slide.mil.training import MilRecipe

        return MilRecipe(
            module=self.module,
            width=self.shape["embed_dim"],
            task=self.task,
            several=self.settings["several"],
            data=data,
            settings=settings,
            seed=seed,
        )

    def config(self) -> dict[str, Any]:
        """Everything but the weights, as JSON."""
        return {"network": dict(self.shape), "task": self.task.to_config(), "features": self.origin.to_config()}


def _name(bag: Bag) -> str:
    """A bag as messages call it."""
    return f"The bag of {bag.slide['name']}" if bag.slide.get("name") else "The bag"


def _from_config(config: Config) -> tuple[dict[str, Any], Task, Origin]:
    try:
        return dict(config["network"]), Task.from_config(config["task"]), Origin.from_config(config["features"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"The configuration is not that of a slide model ({error} is not there).") from error
