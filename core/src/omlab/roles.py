"""The roles of omlab: what a model, data set, format, adapter and evaluator must be able to do.

Each role is a protocol with the fewest methods that make it useful; a plugin's class needs no base
class of ours. What a model can do beyond `predict` is a capability: it is named in the model's card
and has its own protocol here or in the package that uses it. Payloads (the images, clips, texts that
models take and give) are defined by the modality packages; core knows only their `kind`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from omlab.prompts import Prompts


@runtime_checkable
class Payload(Protocol):
    """What a model takes or gives: a volume, an image, a label map, a text.

    `kind` is the word that cards use for it in `takes`, `gives` and `payloads`. A prediction is a
    payload too: the one that a model gives.
    """

    kind: ClassVar[str]


@runtime_checkable
class Spatial(Protocol):
    """A payload that lies in space. A spatial prediction must lie on the grid of its input."""

    def same_grid(self, other: Any) -> bool:
        """Whether shape, affine and orientation are those of `other`."""
        ...


@runtime_checkable
class Pictured(Protocol):
    """A prediction that can be looked at beside its input."""

    def overlay(self, payload: Payload, *, prompts: Prompts | None = None) -> bytes:
        """A PNG of `payload` with this prediction drawn over it, and the marks of `prompts` where there are any."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One case of a data set: an input payload and, where it is known, what is to be predicted.

    `group` is what must not be split between training and test (the patient).
    """

    id: str
    payload: Payload
    target: Payload | None = None
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


class Format(Protocol):
    """Reads a path into a payload and writes a payload to a path. Entry of a format card: the class.

    A method for a direction that the card does not name (`reads`, `writes`) is never called.
    """

    def read(self, path: Path, *, kind: str, **settings: Any) -> Payload:
        """Read `path` (a file, or a folder where the card says so) as a payload of `kind`.

        `settings` are the card's, complete; a format without settings takes none.

        Raises `InputError` with one sentence that names the file. Anything done to the data that the
        user did not ask for is warned about with `OmlabWarning`.
        """
        ...

    def write(self, payload: Payload, path: Path) -> None:
        """Write `payload` to `path`, which does not exist yet and lies in a temporary folder."""
        ...


class Dataset(Protocol):
    """A data set. Entry of a data set card: `open(card, *, root, settings) -> Dataset`."""

    def splits(self) -> Sequence[str]:
        """Names of the splits, such as `train`, `val` and `test`."""
        ...

    def ids(self, split: str) -> Sequence[str]:
        """Ids of the cases of a split, in a fixed order. Raises `UsageError` for an unknown split."""
        ...

    def files(self, id: str) -> Sequence[Path]:
        """The files of one case; their digests go into run logs."""
        ...

    def sample(self, id: str) -> Sample:
        """Read one case."""
        ...

    def prepare(self) -> None:
        """Make or fetch what is not there yet; safe to call again, and after an interruption."""
        ...

    def verify(self) -> Sequence[str]:
        """What is wrong with the files, one sentence each; empty when all is well."""
        ...


class Model(Protocol):
    """A model. Entry of a model card: `load(card, *, weights, device, settings, config) -> Model`.

    weights   path of a local checkpoint, or None: an untrained network.
    device    "cpu" or "cuda" (with an index or not), already resolved.
    settings  the card's settings, complete, each of its declared type.
    config    None, or what `Finetunable.config` of an adapted model gave: build that one.
    """

    def predict(self, payload: Payload) -> Payload:
        """Predict for one input. Deterministic; never touches the network or the input."""
        ...


@runtime_checkable
class BatchPredict(Protocol):
    """Capability `batch`: several inputs at once, with the results of one at a time."""

    def predict_batch(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """Predict for each input, in their order."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """Capability `embed`: a vector for an input."""

    def embed(self, payload: Payload) -> Any:
        """A float32 array of shape (features,)."""
        ...


@runtime_checkable
class Promptable(Protocol):
    """Capabilities `points`, `boxes`, `masks`, `text`: a prediction for each object that the user points at.

    A model whose card says `needs_prompts` raises `UsageError` without prompts.
    """

    def predict(self, payload: Payload, *, prompts: Prompts | None = None) -> Payload:
        """Predict the objects of `prompts`, in their order.

        Raises `UsageError` for a kind of prompt that it does not take, `GeometryError` for prompts outside the
        input or of another image.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """What comes of simulated clicks: the last prediction, the clicks as prompts, and how it went.

    `rows` has one row (JSON) for each object and round: `object`, `round` (from 1), `dice`.
    """

    prediction: Payload
    prompts: Prompts
    rows: Sequence[Mapping[str, Any]]


@runtime_checkable
class SimulatesClicks(Protocol):
    """Capability `simulate`: clicks of its own against a reference, to see how good it gets with how many."""

    def simulate(self, payload: Payload, reference: Payload, *, clicks: int, seed: int) -> Simulated:
        """Click `clicks` times for each object of `reference`, a target on the grid of `payload`."""
        ...


@runtime_checkable
class Finetunable(Protocol):
    """Capability `finetune`: all weights can be trained on another data set's targets.

    `module` is the `torch.nn.Module`; its state dict is what is saved.
    """

    module: Any

    def retarget(self, samples: Sequence[Sample], *, seed: int) -> Finetunable:
        """A copy that predicts what the targets of `samples` hold, with new heads where needed."""
        ...

    def training_task(self, samples: Sequence[Sample], *, settings: Mapping[str, Any], seed: int) -> Any:
        """The `omlab_train.TrainingTask` that trains `module` on `samples`."""
        ...

    def config(self) -> dict[str, Any]:
        """Everything but the weights that is needed to build this model again (JSON)."""
        ...

    def predict(self, payload: Payload) -> Payload:
        """As of any model."""
        ...


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What an adapter gives: the adapted model, and what it takes to have it again.

    `config` is JSON; `tensors` maps names to tensors and is stored as safetensors; `history` is a
    list of rows such as `{"epoch": 1, "loss": 0.3}` for the report.
    """

    model: Model
    config: Mapping[str, Any]
    tensors: Mapping[str, Any]
    history: Sequence[Mapping[str, float]] = ()


class ModelBuilder(Protocol):
    """Builds the base model of an adapted one. `weights` None: without pretrained weights."""

    def __call__(self, *, weights: Path | None, config: Mapping[str, Any] | None) -> Model:
        """Build it."""
        ...


class Adapter(Protocol):
    """model + data -> adapted model. Entry of an adapter card: `load(card, *, settings) -> Adapter`."""

    def fit(self, model: Model, data: Dataset, *, device: str, seed: int, folder: Path) -> Adapted:
        """Adapt `model` to the `train` split of `data`.

        `folder` is the run's work folder: checkpoints for resuming go there; when the folder holds
        those of an interrupted run with the same settings, the work goes on from them.
        """
        ...

    def restore(self, build: ModelBuilder, *, config: Mapping[str, Any], weights: Path) -> Model:
        """The adapted model again, from what `fit` gave."""
        ...


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One figure of a report: `value` with the 95 % interval `low`..`high` over `n` cases.

    `label` says of what (an organ, a class), None: of the whole. None for `value`: not defined here.
    """

    name: str
    value: float | None
    label: str | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unit: str = ""
    higher_is_better: bool = True


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an evaluator concludes. `notes` say how special cases were counted.

    `details` is what else `report.json` holds, by name (JSON); its schema is the evaluator's own.
    """

    metrics: Sequence[Metric]
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


class Evaluator(Protocol):
    """predictions + targets -> report. Entry of an evaluator card: `load(card, *, settings) -> Evaluator`.

    Each case is measured alone and its rows are kept in the run log, so that an interrupted evaluation
    goes on where it stopped.
    """

    def measure(self, sample: Sample, prediction: Payload, *, folder: Path) -> Sequence[Mapping[str, Any]]:
        """Rows (JSON) that describe how good `prediction` is; pictures may be written into `folder`."""
        ...

    def report(self, rows: Mapping[str, Sequence[Mapping[str, Any]]], *, folder: Path) -> Report:
        """Sum up the rows of all cases (by case id); writes `report.html` and its like into `folder`."""
        ...


class RecordedEvaluator(Protocol):
    """Recorded answers -> report. Entry of an evaluator card whose `source` is `recorded`: as of any evaluator.

    The settings name the files: there is no model and no data set. A case is what is judged at a time,
    such as the answers to one set of questions.
    """

    def cases(self) -> Mapping[str, Sequence[Path]]:
        """The cases by id, each with the files that it is read from; their digests go into the run log.

        Raises `OmlabError` where the files cannot be used, or the work must not start as it was asked for.
        """
        ...

    def measure(self, case: str, *, folder: Path, scratch: Path) -> Sequence[Mapping[str, Any]]:
        """Rows (JSON) of one case; files for the user may be written into `folder`.

        `scratch` outlives an interruption and a failed case: what must not be paid for twice goes there.
        """
        ...

    def report(self, rows: Mapping[str, Sequence[Mapping[str, Any]]], *, folder: Path) -> Report:
        """Sum up the rows of all cases (by case id); writes `report.html` and its like into `folder`."""
        ...
