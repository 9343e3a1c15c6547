"""The sets of a version of MedBench: dimension, task, form of the answer, prompts. Data, read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from omlab.errors import InputError

Form = Literal[
    "letters", "text", "cloze", "yes-no", "entities", "relations", "events", "terms", "label", "record", "fields",
    "fields-text",
]  # fmt: skip
FORMS: tuple[str, ...] = get_args(Form)
EXTRACTION = ("entities", "relations", "events", "terms", "label", "record", "fields", "fields-text")


@dataclass(frozen=True)
class Task:
    """One set: the dimension that it counts for, its task in words, the form of its answers."""

    dimension: str
    task: str
    form: str


@dataclass(frozen=True)
class Tasks:
    """All sets of a version, the dimensions with their titles, the instructions by form."""

    version: str
    dimensions: Mapping[str, str]
    sets: Mapping[str, Task]
    prompts: Mapping[str, Sequence[str]]

    def prompts_for(self, form: str) -> Sequence[str]:
        """The instructions that suit a form."""
        key = "extraction" if form in EXTRACTION else "letters" if form == "yes-no" else form
        return self.prompts[key]


def read_tasks(path: Path | None = None) -> Tasks:
    """Our own version, or that of a file. Raises `InputError` naming the file and the wrong part."""
    where = str(path) if path is not None else "tasks.toml"
    try:
        text = (
            path.read_text(encoding="utf-8")
            if path is not None
            else resources.files("omlab_medbench").joinpath("tasks.toml").read_text(encoding="utf-8")
        )
        document = tomllib.loads(text)
        dimensions, prompts = dict(document["dimensions"]), dict(document["prompts"])
        sets = {name: Task(**row) for name, row in document["sets"].items()}
        version = str(document["version"])
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where} is not valid TOML: {error}.") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where} must have 'version', [dimensions], [prompts] and [sets]: {error}.") from None
    for name, task in sets.items():
        if task.form not in FORMS:
            raise InputError(f"{where}: the form of {name} is '{task.form}', but must be one of {', '.join(FORMS)}.")
        if task.dimension not in dimensions:
            raise InputError(f"{where}: {name} counts for '{task.dimension}', which is no dimension.")
    few = [form for form, texts in prompts.items() if len(texts) < 5]
    if few:
        raise InputError(f"{where}: '{few[0]}' has fewer than five prompts.")
    return Tasks(version, dimensions, sets, prompts)
