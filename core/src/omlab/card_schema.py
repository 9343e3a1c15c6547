"""What a complete card is, as pydantic models: checked by `omlab info`, the test kit, and before use.

`json_schema(kind)` gives the JSON Schema that the documentation shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from omlab.cards import Card, Kind
from omlab.errors import CardError, SettingsError

RESERVED = ("prepare", "stream", "recipe", "retarget", "config", "module", "layers")
"""Names of other methods of models: no verbs."""
RESULT = "result"
"""What `Verb.expects` calls what the verb gives."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$")]
Entry = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
Sentence = Annotated[str, StringConstraints(min_length=3, strip_whitespace=True)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_IN = re.compile(r"\{([a-z][a-z0-9_]*)\}")  # the place of a setting in an address
TakenKind = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\??$")]


class Strict(BaseModel):
    """A part of a card: no field that is not declared, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(Strict):
    """One thing that a user may set (`-s name=value`): at loading, or as an option of a call.

    `affects_result` false: it changes how the work is done (patience, speed, consent), not what comes of
    it, so that an interrupted run may go on with another value.
    """

    type: Literal["bool", "int", "float", "str", "list"]
    default: Any
    help: Sentence
    choices: list[Any] | None = None
    minimum: float | None = None
    maximum: float | None = None
    affects_result: bool = True


Settings = dict[Word, Setting]


class WeightsFile(Strict):
    """One published file and how it becomes a state dict.

    `wrapper` is the key under which the file keeps the state dict (dots for nesting, empty: the file
    is one); `prefix` is taken off every key. `missing` and `dropped` are the keys (`*` is any text)
    that the network has and the file lacks, and the reverse; any other difference is an error.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[^/\\]+$")]
    url: Annotated[str, StringConstraints(pattern=r"^(https://|hf://|file://)\S+$")]
    size: Annotated[int, Field(gt=0)] | None = None
    approximate_size: Annotated[int, Field(gt=0)] | None = None
    sha256: Sha256 | None = None
    wrapper: str = ""
    prefix: str = ""
    missing: list[str] = []
    dropped: list[str] = []

    @model_validator(mode="after")
    def _has_a_size(self) -> WeightsFile:
        if self.size is None and self.approximate_size is None:
            raise ValueError("give 'size' in bytes, or 'approximate_size' where it is not known exactly")
        return self


class Claim(Strict):
    """A published figure that a command can repeat."""

    data: Sentence
    evaluator: Name
    metric: Sentence
    value: float
    tolerance: Annotated[float, Field(ge=0)]
    label: str | None = None
    source: Sentence


class Weights(Strict):
    """Published weights, by tag in a model card: files, or a repository (a folder), or an endpoint elsewhere.

    `{name}` in an address stands for the model's setting of that name, a text (a card for many networks).
    `key_env` names the environment variable that holds an endpoint's key.
    """

    summary: Sentence
    licence: Sentence
    files: list[WeightsFile] = []
    repository: Annotated[str, StringConstraints(pattern=r"^hf://[^/\s]+/[^/@\s]+@\S+$")] | None = None
    endpoint: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] | None = None
    model_id: str | None = None
    key_env: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    claims: list[Claim] = []

    @model_validator(mode="after")
    def _stands_somewhere(self) -> Weights:
        places = [bool(self.files), self.repository is not None, self.endpoint is not None]
        if sum(places) != 1:
            raise ValueError("give one of 'files', 'repository' and 'endpoint'")
        return self

    @property
    def places(self) -> list[str]:
        """The settings that addresses name."""
        return [
            name for url in (*(file.url for file in self.files), self.repository or "") for name in _IN.findall(url)
        ]

    def at(self, settings: Mapping[str, Any]) -> Weights:
        """The weights that these settings of the model stand for.

        Raises `SettingsError` for a value that cannot be part of an address.
        """
        if not self.places:
            return self
        for name in self.places:
            if not re.fullmatch(r"[A-Za-z0-9][\w-]*(\.[\w-]+)*", str(settings[name])):
                raise SettingsError(f"'{settings[name]}' cannot be the setting '{name}': it names published weights.")
        filled = [file.model_copy(update={"url": _filled(file.url, settings)}) for file in self.files]
        repository = None if self.repository is None else _filled(self.repository, settings)
        return self.model_copy(update={"files": filled, "repository": repository})


def _filled(url: str, settings: Mapping[str, Any]) -> str:
    return _IN.sub(lambda found: str(settings[found[1]]), url)


class Verb(Strict):
    """One thing that a model does: named inputs of declared kinds (`kind?`: may be left out), and what it gives.

    `grid` is the input whose lattice the result is promised on, `frame` the one whose physical space it keeps.
    `accepts` narrows an input to some of its facets. `batch` is how many go through at once unless told otherwise,
    `concurrency` how many calls of that many cases an endpoint bears at once, each from a thread of its own.
    `expects` says by input, and under `result` of what it gives, what the model was made for: JSON that the gate of
    that kind understands (`PayloadCard.gate`). What has an entry, if an empty one, is looked at.
    """

    takes: Annotated[dict[Word, TakenKind], Field(min_length=1)]
    accepts: dict[Word, list[Name]] = {}
    gives: Name
    grid: Word | None = None
    frame: Word | None = None
    batch: Annotated[int, Field(ge=1)] = 1
    concurrency: Annotated[int, Field(ge=1)] = 1
    streams: bool = False
    deterministic: bool = True
    options: Settings = {}
    expects: dict[Word, dict[str, Any]] = {}

    @property
    def at_once(self) -> int:
        """How many cases are done at once, unless told otherwise."""
        return self.batch * self.concurrency

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each input."""
        return {name: kind.removesuffix("?") for name, kind in self.takes.items()}

    @property
    def required(self) -> tuple[str, ...]:
        """The inputs that must be there."""
        return tuple(name for name, kind in self.takes.items() if not kind.endswith("?"))

    @model_validator(mode="after")
    def _names_its_inputs(self) -> Verb:
        expected = [name for name in self.expects if name != RESULT]
        for field, names in (
            ("accepts", self.accepts), ("grid", [self.grid]), ("frame", [self.frame]), ("expects", expected)
        ):  # fmt: skip
            for name in names:
                if name is not None and name not in self.takes:
                    raise ValueError(f"{field} names '{name}', which is none of the inputs {', '.join(self.takes)}")
        clash = sorted(set(self.options) & set(self.takes))
        if clash:
            raise ValueError(f"'{clash[0]}' is an input and an option: what differs by case is an input")
        if not self.required:
            raise ValueError("at least one input must be required")
        return self


class Training(Strict):
    """A recipe: what is minimised. `target` is the kind of the targets ("": it needs none).

    `gives` says what verbs of the trained model give, where that is not what the model gave before, `grid` on which
    input's grid the result of such a verb is promised, where the model had no such verb. `defaults` advises adapters:
    settings of theirs by their name. `loop` "own": the recipe trains itself.
    """

    summary: str = ""
    target: Annotated[str, StringConstraints(pattern=r"^([a-z0-9]+(-[a-z0-9]+)*)?$")] = ""
    loop: Literal["omlab", "own"] = "omlab"
    settings: Settings = {}
    gives: dict[Word, Name] = {}
    grid: dict[Word, Word] = {}
    defaults: dict[Name, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _promises_what_it_gives(self) -> Training:
        for verb in self.grid:
            if verb not in self.gives:
                raise ValueError(f"grid names the verb '{verb}', which is none that the recipe gives")
        return self


class BaseCard(Strict):
    """What every card has."""

    name: Name
    summary: Annotated[str, StringConstraints(min_length=3, max_length=160)]
    entry: Entry
    licence: Sentence
    homepage: str | None = None
    citation: str | None = None
    settings: Settings = {}


class PayloadCard(BaseCard):
    """A kind of input or output: its name is the kind, its entry the class.

    `examples` () -> sequence of small payloads; the n-th of all kinds of one package belong together. `odd`
    () -> {what is odd: payload}. `survey` (cases, input's name) -> JSON: what training wants to know of a data set's
    inputs of this kind beforehand; what it gives under `expects`, by kind, becomes the trained model's `Verb.expects`.
    `gate` (payload, what is expected of it) -> JSON: `doubts`, a sentence each, and beside them what they rest on.
    `first`: of a compound kind, that of the part which a result's one file holds.
    """

    first: Name | None = None
    examples: Entry | None = None
    odd: Entry | None = None
    survey: Entry | None = None
    gate: Entry | None = None


class FormatCard(BaseCard):
    """A file format. `suffixes` are lower case with their dot; `folders`: it may also be a folder; "only": it is one.

    The `suffixes` of a format that is only a folder are those of the files in it.
    `magic` is the text that such a file has at byte `magic_offset`: it tells a file without a suffix.
    `default_for`: payload kinds written in this format when the user names none; `beside`: names of
    formats whose readings get a result in this format too (DICOM-SEG beside DICOM). `pictured`: payload
    kinds, of those that it reads, that can be drawn over their input (`omlab.roles.Pictured`); `overlays`: kinds, of
    those that it writes, that it draws over their input (films: `--overlay FILE`). `many`: a file holds many entries,
    read one by one by their key. `collects`: kinds that are written into one file for all cases. `lazy`: inputs are
    read in parts while they are used, and told by their size and sampled blocks. `resumes`: a result
    that is written for long is gone on with where an earlier start was stopped (`omlab.roles.Format.write`).
    """

    suffixes: list[Annotated[str, StringConstraints(pattern=r"^\.[a-z0-9.]+$")]]
    reads: list[Name] = []
    writes: list[Name] = []
    folders: bool | Literal["only"] = False
    default_for: list[Name] = []
    beside: list[Name] = []
    pictured: list[Name] = []
    overlays: list[Name] = []
    magic: str = ""
    magic_offset: Annotated[int, Field(ge=0)] = 0
    many: bool = False
    collects: list[Name] = []
    lazy: bool = False
    resumes: bool = False


class DatasetCard(BaseCard):
    """A data set. `inputs` and `target` are kinds, empty where they depend on the user's files (`about` tells then).

    `own`: it reads what a user has (`--data NAME:PATH`) and has no files of its own. `columns`: of an own one that
    reads tables, the names that its column of ids may have. A table that has none of those of the data set that it is
    given to, but one of another's, is read by that one.
    """

    inputs: dict[Word, Name] = {}
    target: Name | None = None
    task: Name | None = None
    splits: list[Name] = []
    data_licence: Sentence
    own: bool = False
    columns: list[str] = []


class ModelCard(BaseCard):
    """A model: what it does, how it is trained, what it needs, its weights, its limits.

    `also`: names of cards of the same network for other kinds of inputs (volumes beside images). Where a user names
    paths that this card cannot read and one of those can, that one is used, with the same weights.
    `modalities` and `organs` say what it was made for, in the field's words (`ct`, `fundus`; `liver`, `whole-body`);
    empty: no one in particular. `demonstration`: it is there for tests and demonstrations alone.
    `needs`: the model's own names for others to theirs. One that ends with `?` may be left out: it is handed over only
    where the user names one, and the name on the card is an example.
    `check`: (settings, weights=tag) -> None is called before weights are looked for where settings say which those
    are; it raises `SettingsError`. The tag is `local` for a file of the user's.
    """

    does: dict[Word, Verb] = {}
    trains: dict[Name, Training] = {}
    needs: dict[Word, str] = {}
    also: list[Name] = []
    modalities: list[Name] = []
    organs: list[Name] = []
    demonstration: bool = False
    intended_use: Sentence
    limits: Sentence
    citation: str
    parameters: int | None = None
    weights: dict[Tag, Weights] = {}
    default_weights: str = "untrained"
    check: Entry | None = None

    @field_validator("does")
    @classmethod
    def _verbs_are_free(cls, does: dict[str, Verb]) -> dict[str, Verb]:
        taken = sorted(set(does) & set(RESERVED))
        if taken:
            raise ValueError(f"'{taken[0]}' is no verb: the name stands for something else")
        return does

    @property
    def needed(self) -> dict[str, str]:
        """The needs that cannot be left out."""
        return {name: model for name, model in self.needs.items() if not model.endswith("?")}

    @property
    def is_remote(self) -> bool:
        """Whether it answers through an endpoint: it has no untrained form then."""
        return any(weights.endpoint is not None for weights in self.weights.values())

    @model_validator(mode="after")
    def _is_consistent(self) -> ModelCard:
        if not self.does and not self.trains:
            raise ValueError("a model has at least one verb ([model.does.VERB]) or recipe ([model.trains.RECIPE])")
        if "untrained" in self.weights:
            raise ValueError("'untrained' is not a tag of weights: every model has it without a file")
        if self.default_weights != "untrained" and self.default_weights not in self.weights:
            raise ValueError(f"default_weights '{self.default_weights}' is not among the weights")
        for tag, weights in self.weights.items():
            for name in weights.places:
                if name not in self.settings or self.settings[name].type != "str":
                    raise ValueError(f"an address of the weights '{tag}' names '{name}', which is no setting of text")
        for verb, facts in self.does.items():
            clash = sorted(set(facts.options) & set(self.settings))
            if clash:
                raise ValueError(f"'{clash[0]}' is a setting and an option of {verb}: call one of them otherwise")
        return self


class AdapterCard(BaseCard):
    """A way to adapt a model. `requires` is "recipe", or the verb that the model must have.

    `gives` says what verbs of the adapted model give, where the recipe does not. One that has a setting `split` learns
    from the cases of that split, all others from those of `train`.
    """

    requires: Word
    gives: dict[Word, Name] = {}
    tasks: list[Name] = []


class EvaluatorCard(BaseCard):
    """A way to judge what a verb gives (`judges`, a kind) against targets of kind `target`, for one task.

    `also`: further kinds of results that it judges (masks over time beside volumes), with the kind of their targets.
    Of several kinds against the same targets the first that a model gives is judged.
    """

    task: Name
    judges: Name
    target: Name
    also: dict[Name, Name] = {}

    def against(self, target: str) -> Self | None:
        """This card for targets of that kind alone; None where it judges nothing against such."""
        judged = [result for result, kind in {self.judges: self.target, **self.also}.items() if kind == target]
        if not judged:
            return None
        also = dict.fromkeys(judged[1:], target)
        return self.model_copy(update={"judges": judged[0], "target": target, "also": also})


CARD_MODELS: dict[Kind, type[BaseCard]] = {
    "payload": PayloadCard,
    "format": FormatCard,
    "dataset": DatasetCard,
    "model": ModelCard,
    "adapter": AdapterCard,
    "evaluator": EvaluatorCard,
}


def validate(card: Card) -> BaseCard:
    """The card in full. Raises `CardError` that names the card, its file, and line and name of each wrong field."""
    try:
        return CARD_MODELS[card.kind].model_validate(dict(card.data))
    except ValidationError as error:
        from omlab.card_problems import problems  # only a mistake pays for it

        found = problems(card, error.errors(), schema=json_schema(card.kind))
        end = "" if found.endswith("?") else "."
        raise CardError(
            f"{card.kind} card '{card.name}' in {card.source or card.distribution}, {found}{end}"
        ) from error


def json_schema(kind: Kind) -> dict[str, Any]:
    """JSON Schema of one kind of card."""
    return CARD_MODELS[kind].model_json_schema()
