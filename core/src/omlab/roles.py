"""The roles of omlab: what a model, data set, format, adapter and evaluator must be able to do.

Each role is a protocol with the fewest methods that make it useful; a plugin's class needs no base class of ours.
What a model does stands in its card as verbs; each is one method of one form, over a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from omlab.payloads import Inputs, Payload

if TYPE_CHECKING:
    from omlab.errors import OmlabError
    from omlab.session import Session


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One case that was read: its inputs by name and, where it is known, what a model should give.

    `group` is what must not be split between training and test (the patient). `ignored` are values in the target that
    count as not annotated (`About.ignored`): neither a loss nor a figure looks there.
    """

    id: str
    inputs: Inputs
    target: Payload | None = None
    group: str | None = None
    ignored: Sequence[int] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


class Case(Protocol):
    """A case that can be read: an entry of a list, light and picklable.

    ```python
    from dataclasses import dataclass, field
    from pathlib import Path
    from omlab import Sample

    @dataclass(frozen=True)
    class TextCase:
        id: str
        path: Path
        group: str | None = None

        @property
        def files(self):
            return {"text": (self.path,)}

        def load(self):
            return Sample(id=self.id, inputs={"text": Words(self.path.read_text())}, group=self.group)
    ```
    """

    @property
    def id(self) -> str:
        """Unique in its split."""
        ...

    @property
    def group(self) -> str | None:
        """The patient, where it is known."""
        ...

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """The files of each input (and of `target`) by name; empty where there are none."""
        ...

    def load(self) -> Sample:
        """Read it. Raises `InputError` that names the file."""
        ...


@dataclass(frozen=True, kw_only=True)
class About:
    """What a data set says of a split without reading its cases: all that `Trainable.retarget` may use.

    Attributes:
        inputs: Kind of each input.
        target: Kind of the targets; "" where there are none.
        task: Such as `segmentation`; "" where it is not known.
        classes: Names of classes by their value in targets.
        channels: Channels of each input that has some, and their names where known.
        regions: Classes that are unions of others: name to values.
        ignored: Values in targets that count as not annotated.
        groups: How many groups (patients) there are; None: not known.
        cases: How many cases there are.
        facts: What is known of the inputs beyond that, by input: JSON of the kind's `survey`.
    """

    inputs: Mapping[str, str]
    target: str = ""
    task: str = ""
    classes: Mapping[int, str] = field(default_factory=dict)
    channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    regions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    ignored: Sequence[int] = ()
    groups: int | None = None
    cases: int = 0
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Dataset(Protocol):
    """A data set. Entry of a data set card: `open(card, *, root, settings) -> Dataset`.

    ```python
    from pathlib import Path
    from omlab import About
    from omlab.digests import digest_of

    class Notes:
        def __init__(self, root: Path) -> None:
            self.root = root

        def splits(self):
            return ["test"]

        def prepare(self) -> None:
            pass

        def about(self, split):
            return About(inputs={"text": "words"}, cases=len(self.cases(split)))

        def digest(self, split):
            return digest_of([(p.name, p.stat().st_size) for p in sorted(self.root.glob("*.txt"))])

        def cases(self, split):
            return [TextCase(p.stem, p) for p in sorted(self.root.glob("*.txt"))]

        def verify(self):
            return []
    ```
    """

    def splits(self) -> Sequence[str]:
        """Names of the splits, such as `train`, `val` and `test`."""
        ...

    def prepare(self) -> None:
        """Make or fetch what is not there yet; safe to call again, and after an interruption."""
        ...

    def about(self, split: str) -> About:
        """What the split holds, without reading its cases. Raises `UsageError` for an unknown split."""
        ...

    def digest(self, split: str) -> str:
        """A digest of the split from a manifest (names, sizes), without hashing its files."""
        ...

    def cases(self, split: str) -> Sequence[Case]:
        """The cases in a fixed order; nothing is read before `Case.load`."""
        ...

    def verify(self) -> Sequence[str]:
        """What is wrong with the files, one sentence each; empty when all is well."""
        ...


class Format(Protocol):
    """Reads a path into a payload and writes payloads. Entry of a format card: the class.

    ```python
    from pathlib import Path

    class PlainText:
        def read(self, path: Path, *, kind: str):
            return Words(path.read_text(encoding="utf-8"))

        def write(self, payload, path: Path, *, inputs) -> None:
            path.write_text(payload.text, encoding="utf-8")
    ```

    A method for what the card does not name is never called. A format whose card says `many` has
    `index(path) -> Sequence[str]`, the keys of a file's entries, and `read(path, kind=, key=, ...)`. One that
    `collects` has `pack(payload) -> bytes`, a case's record, and `collect(records, path)`, which streams
    (id, record) pairs, ordered by id, into one file.
    """

    def read(self, path: Path, *, kind: str, **settings: Any) -> Payload:
        """Read `path` (a file, or a folder where the card says so) as a payload of `kind`.

        `settings` are the card's, complete; a format without settings takes none.

        Raises `InputError` with one sentence that names the file. Anything done to the data that the
        user did not ask for is warned about with `OmlabWarning`.
        """
        ...

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """Write `payload` to `path`, which does not exist yet and lies in a temporary folder.

        Where the card says `resumes`, what an earlier start of the same run left at `path` may be there: it is gone on
        with. `path` may become a folder.

        `inputs` are those it was made from, where they are known: what a DICOM object refers to.
        """
        ...


class Collects(Protocol):
    """A format that writes one file for all cases of a run."""

    def pack(self, payload: Payload) -> bytes:
        """The record of one case."""
        ...

    def collect(self, records: Iterable[tuple[str, bytes]], path: Path) -> None:
        """Stream the records of all cases, (id, record) ordered by id, into one file."""
        ...


class Model(Protocol):
    """A model: one method for each verb of its card, all of this form.

    ```python
    class WordCounter:
        def predict(self, batch, /):
            return [Words(str(len(inputs["text"].text.split()))) for inputs in batch]

    def load(card, *, weights, needs, device, settings, config):
        return WordCounter()
    ```

    Entry of a model card: `load(card, *, weights, needs, device, settings, config) -> Model`.

    weights   `omlab.weights.Weights`, or None: an untrained network.
    needs     a session for each model that the card needs, by the card's name for it, on the same device.
    device    "cpu" or "cuda" (with an index or not), already resolved.
    settings  the card's settings, complete, each of its declared type.
    config    None, or what `Trainable.config` of an adapted model gave: build that one.

    A verb is `VERB(batch, /, **options) -> Iterable[Payload | OmlabError]`: for each case of the batch, in their
    order, a payload of the kind that the card says, or an `OmlabError`, which fails that case alone. A case is
    what `prepare` gave for it, else its inputs by name. Deterministic but where the card says otherwise: draws
    depend on the option `seed` and the case's inputs alone. Never touches the network, never changes an input.
    """


@runtime_checkable
class Prepares(Protocol):
    """Optional: what needs no network (decode, resample, tokenise), done by the threads that read ahead."""

    def prepare(self, verb: str, inputs: Inputs, /, **options: Any) -> Any:
        """What the verb takes in place of `inputs`; called exactly once a case."""
        ...


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A part of a result that is being made, such as a few characters of an answer."""

    text: str


@runtime_checkable
class Streams(Protocol):
    """For verbs whose card says `streams = true`."""

    def stream(self, verb: str, inputs: Inputs, /, **options: Any) -> Iterator[Delta | Payload]:
        """Parts as they come; the last item is what the verb gives. Closing the iterator cancels."""
        ...


class Trainable(Protocol):
    """A model that has recipes (`[model.trains.RECIPE]`).

    ```python
    import copy
    import torch

    class Toy:
        def __init__(self) -> None:
            self.module = torch.nn.Linear(4, 2)

        def layers(self):
            return [["weight", "bias"]]

        def retarget(self, recipe, about, *, settings, seed):
            other = copy.deepcopy(self)
            other.module = torch.nn.Linear(4, len(about.classes))
            return other

        def recipe(self, recipe, data, *, settings, seed):
            return ToyRecipe(self.module, data, **settings)  # an omlab_train.Recipe

        def config(self):
            return {"classes": self.module.out_features}
    ```

    The order in which an adapter calls: trainable, retarget, then it freezes or injects, recipe, and the loop builds
    the optimiser from the groups that require a gradient.
    """

    module: Any

    def layers(self) -> Sequence[Sequence[str]]:
        """Parameter names from input to head: for freezing all but the last blocks, and layer-wise decay."""
        ...

    def retarget(self, recipe: str, about: About, *, settings: Mapping[str, Any], seed: int) -> Trainable:
        """A copy with heads for the targets; this one stays as it is. Raises `TrainingError`, `SettingsError`."""
        ...

    def recipe(self, recipe: str, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> Any:
        """The `omlab_train.Recipe`, or the `Loop` where the card says `loop = "own"`; never changes the model."""
        ...

    def config(self) -> dict[str, Any]:
        """Everything but the weights that is needed to build this model again (JSON)."""
        ...


class Base(Protocol):
    """The model that an adapter starts from."""

    @property
    def device(self) -> str:
        """Where work is done."""
        ...

    def session(self) -> Session:
        """The loaded model, the same each time."""
        ...

    def trainable(self, *, device: str | None = None) -> Trainable:
        """The model, built anew each time, where work is done or on another device."""
        ...

    def build(self, *, config: Mapping[str, Any] | None, weights: Path | None) -> Model:
        """The model of the card with that configuration and those tensors (safetensors; None: untrained)."""
        ...

    def defaults(self, recipe: str | None, adapter: str) -> Mapping[str, Any]:
        """What the model's card advises an adapter."""
        ...


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What an adapter gives: what it takes to have the adapted model again.

    `does` are the verbs that it has (as in a model card, JSON); None: the base's, with what the recipe gives.
    `config` is JSON, `tensors` a safetensors file in the adapter's folder that holds only what changed; `history`
    is a list of rows such as `{"epoch": 1, "loss": 0.3}` for the report; `files` are kept beside (loss curves).
    """

    config: Mapping[str, Any]
    tensors: Path
    does: Mapping[str, Mapping[str, Any]] | None = None
    history: Sequence[Mapping[str, Any]] = ()
    files: Sequence[Path] = ()


class Adapter(Protocol):
    """model + data -> adapted model. Entry of an adapter card: `load(card, *, settings) -> Adapter`.

    ```python
    from collections import Counter
    from omlab import Adapted

    class Always:
        def __init__(self, answer: str) -> None:
            self.answer = answer

        def predict(self, batch, /):
            return [Words(self.answer) for inputs in batch]

    class Majority:
        def fit(self, base, data, *, recipe, settings, seed, folder):
            counts = Counter(case.load().target.text for case in data.cases("train"))
            tensors = folder / "nothing.safetensors"
            tensors.write_bytes((2).to_bytes(8, "little") + b"{}")
            return Adapted(
                config={"answer": counts.most_common(1)[0][0]},
                tensors=tensors,
                does={"predict": {"takes": {"text": "words"}, "gives": "words"}},
            )

        def restore(self, base, *, config, tensors):
            return Always(config["answer"])
    ```

    One that can do many episodes (shots, seeds) at once is a `FitsMany`.
    """

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
        """Adapt to the `train` split of `data`.

        `settings` are the recipe's, complete (the adapter has had its own at `load`). `folder` is the run's work
        folder: checkpoints for resuming go there; when it holds those of an interrupted run with the same settings,
        the work goes on from them. Under torchrun every process calls this with the same folder; those whose
        `omlab.shards.rank()` is above 0 write nothing there, and what they give is not used.
        """
        ...

    def restore(self, base: Base, *, config: Mapping[str, Any], tensors: Path) -> Model:
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


Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""What an evaluator measured, by case id."""


class Evaluator(Protocol):
    """Cases with results -> report. Entry of an evaluator card: `load(card, *, settings) -> Evaluator`.

    ```python
    from omlab import Metric, Report

    class Exact:
        def measure(self, sample, result, folder):
            return [{"right": result.text == sample.target.text}]

        def report(self, rows, folder):
            right = [row["right"] for case in rows.values() for row in case]
            return Report(metrics=[Metric(name="accuracy", value=sum(right) / len(right), n=len(right))])
    ```

    Each case is measured alone and its rows are kept in the run log, so that an interrupted evaluation
    goes on where it stopped.
    """

    def measure(self, sample: Sample, result: Payload, folder: Path) -> Sequence[Mapping[str, Any]]:
        """Rows (JSON) that describe how good `result` is; pictures may be written into `folder`. In a worker thread."""
        ...

    def report(self, rows: Rows, folder: Path) -> Report:
        """Sum up the rows of all cases; writes `report.html` and its like into `folder`."""
        ...


Answers = Iterable["Payload | OmlabError"]
"""What a verb gives for a batch."""
