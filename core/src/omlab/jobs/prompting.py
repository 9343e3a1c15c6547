"""Prompts given to a prediction: what can be said of them before weights are looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omlab.card_schema import PROMPT_KINDS, ModelCard
from omlab.digests import digest_of, file_digest
from omlab.errors import GeometryError, InputError, UsageError
from omlab.prompts import Prompts, read


@dataclass(frozen=True, kw_only=True)
class Given:
    """Prompts as a user gave them: what they say, their file, and the digests of both and of mask files."""

    prompts: Prompts
    name: str
    digests: Mapping[str, str]

    def request(self) -> dict[str, Any]:
        """What they add to a run's request."""
        return {"sha256": dict(self.digests), "content": self.prompts.model_dump(mode="json")}


def given_prompts(prompts: str | Path | Prompts) -> Given:
    """Prompts from a file, or as they are. Raises `InputError` for a file that holds none, or lacks its mask files."""
    if isinstance(prompts, Prompts):
        return Given(prompts=prompts, name="the prompts", digests={"prompts": digest_of(prompts.model_dump())})
    path = Path(prompts)
    found = read(path)
    digests = {"prompts": file_digest(path)}
    for mask in (mask for entry in found.objects for mask in entry.masks):
        file = path.parent / mask.file
        if not file.is_file():
            raise InputError(f"{path} names the mask {mask.file}, but there is no file {file}.")
        digests[mask.file] = file_digest(file)
    return Given(prompts=found, name=str(path), digests=digests)


def check_prompts(card: ModelCard, given: Given | None) -> None:
    """Raise `UsageError` where a model needs prompts and has none, or has some that it does not take."""
    if given is not None:
        given.prompts.require(card.capabilities, model=f"'{card.name}'")
    elif card.needs_prompts:
        kinds = " or ".join(kind for kind in PROMPT_KINDS if kind in card.capabilities)
        clicks = ", or let it click by itself with --labels and --clicks" if "simulate" in card.capabilities else ""
        raise UsageError(f"'{card.name}' predicts what it is pointed at: give {kinds} with --points FILE{clicks}.")


def check_images(given: Given, cases: Mapping[str, Path]) -> None:
    """Raise where the prompts cannot belong to the inputs.

    Prompts that name an image are of that one alone. World positions without a name are for every input: several
    series of one patient share one space.

    Raises:
        UsageError: They name an image, and there are several inputs.
        GeometryError: They are voxels of another image than the input.
    """
    image = given.prompts.image
    if image is None:
        return
    if len(cases) > 1:
        raise UsageError(
            f"{given.name} points into one image, {image}, but there are {len(cases)} inputs: predict that one alone, "
            "or give positions in mm without an image where the inputs share one space."
        )
    (path,) = cases.values()
    found = path.absolute().name
    if given.prompts.space == "voxel" and Path(image).name != found:
        raise GeometryError(
            f"{given.name} holds voxels of {image}, not of {found}: give them in world coordinates, or name the "
            "image that they belong to."
        )
