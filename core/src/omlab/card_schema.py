"""What a complete card is, as pydantic models: checked by `omlab info`, the test kit, and before use.

`json_schema(kind)` gives the JSON Schema that the documentation shows.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from omlab.cards import Card, Kind
from omlab.errors import CardError

PROMPT_KINDS = ("points", "boxes", "masks", "text")
CAPABILITIES = ("batch", "embed", "finetune", *PROMPT_KINDS, "simulate", "generate", "score", "pretrain")

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$")]
Entry = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
Sentence = Annotated[str, StringConstraints(min_length=3, strip_whitespace=True)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Strict(BaseModel):
    """A part of a card: no field that is not declared, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(Strict):
    """One thing that a user may set (`--set name=value`).

    `affects_result` false: it changes how the work is done (patience, speed, consent), not what comes of
    it, so that an interrupted run may go on with another value. Evaluators of recorded answers use it.
    """

    type: Literal["bool", "int", "float", "str", "list"]
    default: Any
    help: Sentence
    choices: list[Any] | None = None
    minimum: float | None = None
    maximum: float | None = None
    affects_result: bool = True


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


class Weights(Strict):
    """Published weights, by tag in a model card."""

    summary: Sentence
    licence: Sentence
    files: Annotated[list[WeightsFile], Field(min_length=1)]


class BaseCard(Strict):
    """What every card has."""

    name: Name
    summary: Annotated[str, StringConstraints(min_length=3, max_length=160)]
    entry: Entry
    licence: Sentence
    homepage: str | None = None
    citation: str | None = None
    settings: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")], Setting] = {}
    needs: list[str] = []


class ModelCard(BaseCard):
    """A model: what it takes and gives, what it can do, its weights, its limits.

    `needs_prompts`: without prompts it predicts nothing.
    """

    takes: Name
    gives: Name
    task: Name
    capabilities: list[str] = []
    needs_prompts: bool = False
    intended_use: Sentence
    limits: Sentence
    citation: str
    parameters: int | None = None
    weights: dict[Tag, Weights] = {}
    default_weights: str = "untrained"

    @model_validator(mode="after")
    def _is_consistent(self) -> ModelCard:
        unknown = sorted(set(self.capabilities) - set(CAPABILITIES))
        if unknown:
            raise ValueError(f"capability '{unknown[0]}' is none of {', '.join(CAPABILITIES)}")
        if self.needs_prompts and not set(PROMPT_KINDS) & set(self.capabilities):
            raise ValueError(f"a model that needs prompts must have one of the capabilities {', '.join(PROMPT_KINDS)}")
        if "untrained" in self.weights:
            raise ValueError("'untrained' is not a tag of weights: every model has it without a file")
        if self.default_weights != "untrained" and self.default_weights not in self.weights:
            raise ValueError(f"default_weights '{self.default_weights}' is not among the weights")
        return self


class DatasetCard(BaseCard):
    """A data set: what its samples and targets are."""

    payload: Name
    target: Name | None = None
    task: Name
    splits: Annotated[list[Name], Field(min_length=1)]
    data_licence: Sentence


class FormatCard(BaseCard):
    """A file format. `suffixes` are lower case with their dot; `folders`: it may also be a folder.

    `magic` is the text that such a file has at byte `magic_offset`: it tells a file without a suffix.
    `default_for`: payload kinds written in this format when the user names none; `beside`: names of
    formats whose readings get a prediction in this format too (DICOM-SEG beside DICOM). `pictured`: payload
    kinds, of those that it reads, that can be drawn over their input (`omlab.roles.Pictured`).
    """

    suffixes: list[Annotated[str, StringConstraints(pattern=r"^\.[a-z0-9.]+$")]]
    reads: list[Name] = []
    writes: list[Name] = []
    folders: bool = False
    default_for: list[Name] = []
    beside: list[Name] = []
    pictured: list[Name] = []
    magic: str = ""
    magic_offset: Annotated[int, Field(ge=0)] = 0


class AdapterCard(BaseCard):
    """A way to adapt a model. `capability` is what the model must be able to do."""

    capability: str
    tasks: list[Name] = []


class EvaluatorCard(BaseCard):
    """A way to judge predictions of one kind for one task.

    `source` says where the predictions come from: `predictions`, a model or a run of `omlab predict` on a
    data set; `recorded`, answers in files that the card's settings name (`omlab.roles.RecordedEvaluator`).
    """

    source: Literal["predictions", "recorded"] = "predictions"
    task: Name
    prediction: Name
    target: Name


CARD_MODELS: dict[Kind, type[BaseCard]] = {
    "dataset": DatasetCard,
    "format": FormatCard,
    "model": ModelCard,
    "adapter": AdapterCard,
    "evaluator": EvaluatorCard,
}


def validate(card: Card) -> BaseCard:
    """The card in full. Raises `CardError` that names the card, its file and each wrong field."""
    try:
        return CARD_MODELS[card.kind].model_validate(dict(card.data))
    except ValidationError as error:
        problems = "; ".join(_problem(row) for row in error.errors())
        raise CardError(
            f"{card.kind} card '{card.name}' in {card.source or card.distribution} is wrong: {problems}."
        ) from error


def _problem(row: Any) -> str:
    where = ".".join(str(part) for part in row["loc"]) or "the card"
    return f"{where}: {re.sub(r'^Value error, ', '', row['msg'])}"


def json_schema(kind: Kind) -> dict[str, Any]:
    """JSON Schema of one kind of card."""
    return CARD_MODELS[kind].model_json_schema()
