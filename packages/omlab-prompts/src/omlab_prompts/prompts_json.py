"""The file of prompts: JSON (`omlab_prompts.prompts.json_schema()` describes it), or a markups file of 3D Slicer.

{"version": 1, "space": "voxel", "image": "ct.nii.gz", "objects": [
  {"name": "liver", "points": [{"at": [120, 88, 40]}, {"at": [90, 88, 40], "label": 0}]}]}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from omlab.errors import InputError, OutputError, UsageError
from omlab.files import replacing, writing
from omlab.payloads import Inputs, Payload, describe
from omlab_prompts.prompts import Prompts
from omlab_prompts.slicer_markups import objects_of
from omlab_prompts.wording import brief, what_is_wrong


class PromptsJson:
    """The format `prompts-json`."""

    def read(self, path: Path, *, kind: str) -> Prompts:
        """As `read`."""
        return read(path)

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A prompts file; mask files stay where they are. Raises `UsageError`, `OutputError`."""
        if not isinstance(payload, Prompts):
            raise UsageError(f"A prompts file holds prompts, not a {describe(payload)}.")
        if path.name.lower().endswith(".mrk.json"):
            raise OutputError(f"{path.name} would be a markups file of 3D Slicer; prompts are written as .json.")
        content = {"version": payload.version} | payload.model_dump(mode="json", exclude_defaults=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(path: Path) -> Prompts:
    """Read a prompts file, or a markups file of 3D Slicer.

    Raises `InputError` with one sentence that names the file and the entry, or a mask file that is not there.
    """
    path = Path(path)
    content = _content(path)
    if isinstance(content, dict) and "markups" in content:
        content = {"space": "ras", "objects": objects_of(content["markups"], path=path)}
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no prompts but {brief(content)}: it must have 'space' and 'objects'.")
    try:
        prompts = Prompts.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path} is no prompts file: {what_is_wrong(error, content)}.") from None
    masks = [mask for entry in prompts.objects for mask in entry.masks]
    for mask in masks:
        if not (path.parent / mask.file).is_file():
            raise InputError(f"{path} names the mask {mask.file}, but there is no file {path.parent / mask.file}.")
    if masks:
        prompts._folder = path.absolute().parent
    return prompts


def write(prompts: Prompts, path: Path) -> None:
    """Write a prompts file, whole or not at all. Raises `OutputError`."""
    with writing("The prompts", Path(path)), replacing(Path(path)) as temporary:
        PromptsJson().write(prompts, temporary, inputs={})


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())  # a byte order mark tells the encoding, UTF-8 otherwise
    except FileNotFoundError:
        raise InputError(f"There is no prompts file {path}.") from None
    except OSError as error:
        raise InputError(f"The prompts file {path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    except json.JSONDecodeError as error:
        why = f"it ends or goes wrong at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        why = "a number is too long, or lists lie too deep in each other"
    raise InputError(f"{path} is not JSON ({why}); prompts are JSON or a markups file of 3D Slicer.")
