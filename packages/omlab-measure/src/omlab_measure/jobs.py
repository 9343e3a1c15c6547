"""`omlab measure` as a function: label maps, with the images that they lie on, to a run of measurements."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omlab.arguments import path_of, paths_of
from omlab.card_schema import FormatCard, Verb
from omlab.cases import PathCase, cases_in
from omlab.digests import digest_of
from omlab.errors import InputError, OmlabError, OmlabWarning, UsageError
from omlab.files import writing
from omlab.formats import companions, named_format, read_format, write_as
from omlab.jobs.one_file import OneFile, is_one_file
from omlab.jobs.outcome import Outcome
from omlab.jobs.outputs import PICTURE, file_name
from omlab.jobs.run_cases import FileCase, run_cases
from omlab.jobs.sources import Given, chosen_cases
from omlab.payloads import Inputs, take
from omlab.records import Role
from omlab.roles import Case
from omlab_measure.intensity import BIN_WIDTH
from omlab_measure.measurements import Measurements
from omlab_measure.measuring import measure
from omlab_measure.placing import placed_on
from omlab_measure.report import TABLE, conclude
from omlab_volume.volume import LabelMap, Volume

KIND = "measure"
LABELMAP, VOLUME = "labelmap", "volume"
_TAKES = Verb(takes={LABELMAP: "labelmap", VOLUME: "volume?"}, gives=Measurements.kind)
_CHANNEL = "_0000"
"""What nnU-Net's layout has behind a case's name in images, and not in labels."""
_FORMATS = {".json": "measurements-json", ".csv": "measurements-csv", ".dcm": "dicom-sr"}


def measure_files(
    labelmaps: str | Path | Sequence[str | Path] = (),
    *,
    images: str | Path | Sequence[str | Path] = (),
    data: str | None = None,
    split: str | None = None,
    root: str | Path | None = None,
    data_settings: Mapping[str, Any] | None = None,
    mapped: Mapping[str, str] | None = None,
    read_settings: Mapping[str, Mapping[str, Any]] | None = None,
    output: str | Path | None = None,
    channel: int = 1,
    unit: str = "",
    bin_width: float = BIN_WIDTH,
) -> Outcome:
    """Measure the structures of label maps: files, folders, or a data set with the inputs `labelmap` and `volume`.

    Args:
        labelmaps: Files and folders of label maps.
        images: Of the images that they lie on: one of one, or such as are called like the label maps.
        data: Name of a data set (`NAME` or `NAME:PATH`) in place of both.
        split: Its split; by default `test`, of own files all.
        root: Where its files are.
        data_settings: Values for its settings.
        mapped: Its names of the inputs `labelmap` and `volume`, where they cannot be told.
        read_settings: Values for the settings of formats, by input ("" for all).
        output: A file (`.json` or `.dcm` of one case, `.csv` of all), or a folder that gets them all, pictures of the
            largest structures and a page; by default one in `omlab-runs/`.
        channel: The image's channel that intensities are of, from 1.
        unit: Of intensities, such as `HU`; "": as the image says it, which NIfTI does not.
        bin_width: Of entropy and uniformity, in the image's unit.

    Raises:
        OmlabError: When nothing could be started, no case could be measured, or nothing more can be written.
    """
    read = dict(read_settings or {})
    given = Given(paths=paths_of(labelmaps, "A label map"), read=read)
    below = paths_of(images, "An image")
    if data is not None and below:
        raise UsageError("Name either images (--image) or a data set (--data), not both.")
    source, chosen = chosen_cases(
        given, _TAKES, model=KIND, data=data, split=split, root=root, settings=data_settings, mapped=mapped
    )
    cases = _with_images(chosen, below, read=read) if below else list(chosen)
    place = path_of(output, "The output") if output is not None else None
    into_file = place is not None and is_one_file(str(output), Measurements.kind)
    suffix = place.suffix.lower() if place is not None and into_file else ".json"
    request: dict[str, Any] = {"command": KIND, "channel": channel, "unit": unit, "bin_width": bin_width}
    request["read"] = read
    if source is not None:
        request["data"] = source.card.name
    if place is not None and into_file:
        request["format"] = _FORMATS[suffix]
        file = OneFile(path=place, kind=KIND, request=request, collected=TABLE if suffix == ".csv" else "")
        file.check(cases)
        there = file.there(cases)
        if there is not None:
            return there
    work = _Work(
        cases={case.id: case for case in cases},
        format=named_format(_FORMATS[".json" if suffix == ".csv" else suffix], Measurements.kind),
        channel=channel,
        unit=unit,
        bin_width=bin_width,
        is_pictured=not into_file,
    )
    do = partial(_in_run, work, request=request, arguments={"inputs": [*map(str, given.paths)] or [data]})
    if place is not None and into_file:
        return file.make(do)
    return do(place or Path("omlab-runs") / f"{KIND}-{digest_of([request, _files(cases)])[:8]}")


def _files(cases: Sequence[Case]) -> list[str]:
    return sorted(str(path.absolute()) for case in cases for paths in case.files.values() for path in paths)


def _with_images(cases: Sequence[Case], images: Sequence[Path], *, read: Mapping[str, Any]) -> list[Case]:
    """Each label map with its image: the only one of the only one, else the one that is called like it."""
    found = cases_in(images, "volume", name=VOLUME, settings={**read.get("", {}), **read.get(VOLUME, {})})
    if len(found) == len(cases) == 1:
        return [_joined(cases[0], found[0])]
    by_name = {image.id.removesuffix(_CHANNEL): image for image in found}
    by_name |= {image.id: image for image in found}
    for case in cases:
        if case.id not in by_name:
            raise InputError(
                f"There is no image for the label map '{case.id}' in {', '.join(map(str, images))}: "
                "an image is called like its label map, or the two stand in a table (--data cases:list.csv)."
            )
    return [_joined(case, by_name[case.id]) for case in cases]


def _joined(case: Case, image: PathCase) -> PathCase:
    assert isinstance(case, PathCase)  # cases that come with images come from paths
    return replace(case, sources={**case.sources, **image.sources})


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is done with each case."""

    cases: Mapping[str, Case]
    format: FormatCard
    channel: int
    unit: str
    bin_width: float
    is_pictured: bool

    def do(self, case: FileCase, folder: Path) -> Mapping[str, Any]:
        """Measure one case, and write what is wanted of it into its folder."""
        inputs = self.cases[case.id].load().inputs
        labelmap = take(inputs, LABELMAP, LabelMap)
        image = take(inputs, VOLUME, Volume) if VOLUME in inputs else None
        if image is not None:
            labelmap = placed_on(labelmap, image.grid)
            inputs = {**inputs, LABELMAP: labelmap}
        found = measure(labelmap, image, channel=self.channel, unit=self.unit, bin_width=self.bin_width)
        name = file_name(case.id)
        write_as(self.format, found, folder / f"{name}{self.format.suffixes[0]}", inputs=inputs)
        for card in self._beside(case.id):
            self._write_beside(found, card, folder / f"{name}{card.suffixes[0]}", inputs=inputs)
        if self.is_pictured and image is not None:
            with writing("A picture", folder):
                (folder / f"{name}{PICTURE}").write_bytes(found.overlay(inputs))
        return {"rows": [found.to_value()]}

    def role(self, name: str) -> Role:
        """What a file of a case is."""
        if name.endswith(self.format.suffixes[0]):
            return Role("main", self.format.name, Measurements.kind)
        if name.endswith(PICTURE):
            return Role("picture")
        return Role("beside", _FORMATS[Path(name).suffix], Measurements.kind)

    def _beside(self, id: str) -> list[FormatCard]:
        """Formats in which measurements also go, by those that the inputs were read from."""
        sources = getattr(self.cases[id], "sources", {}).values()
        cards = [read_format(source.paths[0], source.kind) for source in sources if source.paths]
        found = {other.name: other for card in cards for other in companions(card, Measurements.kind)}
        return [card for name, card in found.items() if name != self.format.name]

    def _write_beside(self, found: Measurements, card: FormatCard, path: Path, *, inputs: Inputs) -> None:
        try:
            write_as(card, found, path, inputs=inputs)
        except OmlabError as error:  # what stands beside the main output must not take it away
            path.unlink(missing_ok=True)
            warnings.warn(f"{path.name} was not written as {card.name}: {error}", OmlabWarning, stacklevel=2)


def _in_run(work: _Work, final: Path, *, request: Mapping[str, Any], arguments: Mapping[str, Any]) -> Outcome:
    return run_cases(
        [FileCase(id=case.id, files=case.files, group=case.group) for case in work.cases.values()],
        work.do,
        output=final,
        request=request,
        kind=KIND,
        arguments=arguments,
        report=conclude,
        role=work.role,
    )
