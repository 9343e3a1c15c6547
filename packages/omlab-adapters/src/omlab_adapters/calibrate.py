"""Adapter `calibrate`: any model that segments, told by cases with labels how sure it may be.

Nothing of the network changes: what is kept is a map of five numbers (`omlab_adapters.confidence`), by which the label
maps of the adapted model, of volumes, pictures or clips, tell a confidence of each structure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from omlab import progress
from omlab.card_schema import AdapterCard
from omlab.errors import GeometryError, OmlabError, TrainingError, UsageError
from omlab.roles import Adapted, Base, Case, Dataset, Model
from omlab.session import Session
from omlab_adapters.confidence import Calibration, LabelMap, compared, fit
from omlab_adapters.groups import group_of
from omlab_payloads.sureness import FEATURES

VERB = "predict"
_NO_TENSORS = (2).to_bytes(8, "little") + b"{}"  # a safetensors file without a tensor


def load(card: AdapterCard, *, settings: Mapping[str, Any]) -> Calibrate:
    """The entry of the card."""
    return Calibrate(split=settings["split"])


class Calibrate:
    """Fits a calibration to a split that the model was not trained on (`omlab.roles.Adapter`)."""

    def __init__(self, *, split: str) -> None:
        self.split = split

    def fit(
        self,
        base: Base,
        data: Dataset,
        *,
        recipe: str | None,
        settings: Mapping[str, Any],
        seed: int,
        folder: Path,
    ) -> Adapted:
        """Segment the cases of the split, and fit a confidence to the Dice of what is found.

        Raises:
            UsageError: The data set has no such split.
            TrainingError: The model gives no label maps, does not say how sure it is, or there are too few cases.
        """
        if self.split not in data.splits():
            raise UsageError(
                f"The data set has no split '{self.split}' to calibrate by; it has {', '.join(data.splits())}. Choose "
                "cases that the model was not trained on with -s split=NAME."
            )
        rows, cases = self._compared(base.session(), data)
        features = np.array([row[0] for row in rows]).reshape(-1, len(FEATURES))
        dice = np.array([row[1] for row in rows])
        found = fit(features, dice, cases=[case.id for case in cases], groups=[group_of(case) for case in cases])
        tensors = folder / "nothing.safetensors"
        tensors.write_bytes(_NO_TENSORS)
        history = [{"cases": found.cases, "groups": found.groups, "structures": found.structures, "error": found.error}]
        return Adapted(config=found.to_json(), tensors=tensors, does=_verbs(base.session()), history=history)

    def restore(self, base: Base, *, config: Mapping[str, Any], tensors: Path) -> Model:
        """The base's model, whose label maps tell a confidence."""
        session = base.session()
        return cast(Model, Calibrated(session.model, Calibration.from_json(config), verbs=tuple(_verbs(session))))

    def _compared(self, session: Session, data: Dataset) -> tuple[list[tuple[list[float], float]], list[Case]]:
        """Features and Dice of each structure, and the case that it is of."""
        takes = session.verb(VERB).takes
        rows, cases = [], []
        chosen = data.cases(self.split)
        with progress.bar("calibrating", total=len(chosen)) as advance:
            for case in chosen:
                sample = case.load()
                (result,) = session.apply(VERB, [{k: v for k, v in sample.inputs.items() if k in takes}])
                if isinstance(result, OmlabError):
                    raise TrainingError(f"Case '{case.id}' could not be segmented: {result}") from result
                if not isinstance(result, LabelMap) or "structures" not in result.facts:
                    raise TrainingError(
                        f"'{session.name}' does not say how sure it is of what it segments: it cannot be calibrated."
                    )
                if not isinstance(sample.target, LabelMap):
                    raise TrainingError(f"Case '{case.id}' has no label map to calibrate by.")
                if not sample.target.same_grid(result):
                    raise GeometryError(f"The label map of case '{case.id}' lies on another grid than its image.")
                found = compared(result, sample.target, ignored=sample.ignored)
                rows += found
                cases += [case] * len(found)
                advance(1)
        return rows, cases


class Calibrated:
    """A model whose label maps tell a confidence; all else is the model's own."""

    def __init__(self, model: Any, calibration: Calibration, *, verbs: Sequence[str]) -> None:
        self._model, self._calibration, self._verbs = model, calibration, verbs

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._verbs:
            raise AttributeError(name)
        return getattr(self._model, name)

    def prepare(self, verb: str, inputs: Any, /, **options: Any) -> Any:
        """What the model makes of inputs before it works on them."""
        prepare = getattr(self._model, "prepare", None)
        return inputs if prepare is None else prepare(verb, inputs, **options)

    def predict(self, batch: Sequence[Any], /, **options: Any) -> Iterator[Any]:
        """As the model, with a confidence of each structure."""
        for answer in self._model.predict(batch, **options):
            yield self._calibration.told(answer) if isinstance(answer, LabelMap) else answer


def _verbs(session: Session) -> dict[str, Any]:
    """What the calibrated model does: what the model did."""
    return {name: facts.model_dump(mode="json", exclude_defaults=True) for name, facts in session.card.does.items()}
