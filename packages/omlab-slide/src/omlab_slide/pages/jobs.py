"""`omlab slide report` as a function: the run of an encoder over slides, and of heat maps, to pages."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import omlab
from omlab.digests import digest_of
from omlab.errors import InputError, OmlabError, OmlabWarning, UsageError
from omlab.files import writing
from omlab.identities import part
from omlab.jobs.outcome import Outcome
from omlab.jobs.outputs import file_name
from omlab.jobs.run_cases import FileCase, run_cases
from omlab.records import CaseLog, Record, Role
from omlab.run_folder import read_log
from omlab_report import untrained_notices
from omlab_slide.bag import Bag
from omlab_slide.heat import HeatMap
from omlab_slide.heat.annotation import SUFFIX, Agreement, agreement, read_annotation
from omlab_slide.pages.cohort_page import THUMBNAIL, conclude
from omlab_slide.pages.slide_page import thumbnail, write_slide_page
from omlab_slide.slide import Slide, open_slide
from omlab_slide.tissue.polygons import Polygon

P = TypeVar("P", Bag, HeatMap)

KIND = "slide-report"


def report_slides(
    features: str | Path,
    *,
    heat: str | Path | None = None,
    annotations: str | Path | None = None,
    output: str | Path | None = None,
) -> Outcome:
    """Write a page for each slide of a run of features, and one of all.

    Args:
        features: The folder of a run that made bags: `omlab embed ... -o features/`.
        heat: The folder of a run that made heat maps of the same slides, by the same ids: `omlab explain ...`.
        annotations: A folder of GeoJSON files that are named after slides; by default they lie beside the slides.
        output: A folder; by default one in `omlab-runs/`.

    Raises:
        UsageError: A folder is none of such a run, or not there.
        OmlabError: When nothing could be started, or nothing more can be written.
    """
    bags, failed = _results(Path(features), Bag.kind)
    heats = _results(Path(heat), HeatMap.kind)[0] if heat is not None else {}
    regions = None if annotations is None else Path(annotations)
    if regions is not None and not regions.is_dir():
        raise UsageError(f"{regions} is no folder of annotations.")
    cases = [_case(id, place, record, heats.get(id), regions) for id, (place, record) in bags.items()]
    drawn_by = part((read_log(Path(heat)) or {}).get("request", {}), "model") if heat is not None else {}
    request: dict[str, Any] = {"command": KIND}
    places = sorted(str(path.absolute()) for case in cases for paths in case.files.values() for path in paths)
    return run_cases(
        cases,
        partial(_do, drawn_by=drawn_by),
        output=output or Path("omlab-runs") / f"{KIND}-{digest_of(places)[:8]}",
        request=request,
        kind=KIND,
        arguments={"features": str(features), "heat": str(heat or ""), "annotations": str(annotations or "")},
        report=partial(conclude, failed=failed),
        role=lambda name: Role("picture" if name.endswith(THUMBNAIL) else "main"),
    )


def _case(id: str, place: Path, record: Record, heat: tuple[Path, Record] | None, annotations: Path | None) -> FileCase:
    """A bag, and the slide that it was made of, its heat map and its annotation, where they are there."""
    files = {"bag": [place]}
    names = [id]
    for row in record.inputs.get("slide", []):
        if "path" not in row:
            continue
        slide = Path(row["path"])
        names += [slide.name, slide.stem]
        if slide.exists():
            files["slide"] = [slide]
        annotations = annotations or slide.parent
    drawn = [annotations / f"{name}{SUFFIX}" for name in names if annotations is not None]
    if heat is not None and (there := next((path for path in drawn if path.is_file()), None)):
        files["annotation"] = [there]
    if heat is not None:
        files["heat"] = [heat[0]]
    return FileCase(id=id, files=files, sampled=["bag", "slide"])


def _results(folder: Path, kind: str) -> tuple[dict[str, tuple[Path, Record]], dict[str, str]]:
    """The results of a kind in a run, by id, and the reasons of what failed there."""
    if read_log(folder) is None:
        raise UsageError(f"{folder} is not the folder of a run of omlab: name what was given to -o.")
    found: dict[str, tuple[Path, Record]] = {}
    failed: dict[str, str] = {}
    for record in CaseLog(folder):
        if record.status == "failed":
            failed[record.id] = record.reason
            continue
        for row in record.outputs:
            if row.get("kind") == kind and row.get("role") == "main" and "path" in row:
                found[record.id] = (folder / row["path"], record)
    if not found:
        raise UsageError(f"{folder} holds no {kind}: name the folder of a run that made some.")
    return found, failed


def _do(case: FileCase, folder: Path, *, drawn_by: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the page and the thumbnail of one slide. `drawn_by`: the identity of the model behind the heat maps."""
    bag = _read(case, "bag", Bag)
    assert bag is not None
    heat, slide = _read(case, "heat", HeatMap), _slide(case, bag)
    if heat is not None and not heat.same_frame(bag):
        raise InputError(
            f"The heat map of '{case.id}' is of a slide of {heat.dimensions} pixels, not {bag.dimensions}."
        )
    name, regions = file_name(case.id), _regions(case)
    found = agreement(heat, regions) if heat is not None and regions else None
    told = [*untrained_notices(bag.encoder), *(untrained_notices(drawn_by) if heat is not None else [])]
    notices = list(dict.fromkeys(told))
    page = folder / f"{name}.html"
    write_slide_page(case.id, bag, page, slide=slide, heat=heat, regions=regions, found=found, notices=notices)
    if slide is not None and slide.mpp is not None and bag.tissue is not None:
        with writing("A picture", folder):
            (folder / f"{name}{THUMBNAIL}").write_bytes(thumbnail(bag, slide))
    if slide is not None:
        slide.close()
    return {"rows": [{**_row(bag, heat, found), "notices": notices}]}


def _row(bag: Bag, heat: HeatMap | None, found: Agreement | None) -> dict[str, Any]:
    size = highest = ""
    if bag.mpp is not None:
        size = " x ".join(f"{side * bag.mpp / 1000:.1f}" for side in bag.dimensions)
        if heat is not None:
            x, y = (heat.coords[int(heat.scores.argmax())] + heat.size0 / 2) * bag.mpp / 1000
            highest = f"{x:.2f}, {y:.2f}"
    return {
        "patches": len(bag),
        "tissue_mm2": None if bag.area is None else round(bag.area, 4),
        "mpp": bag.mpp,
        "size_mm": size,
        "highest_mm": highest,
        "encoder": str(bag.encoder.get("name", "")),
        "annotated": None if found is None else found.patches,
        "dice": None if found is None else found.dice,
    }


def _read(case: FileCase, name: str, kind: type[P]) -> P | None:
    """One of the payloads of a case; None where it has none."""
    if name not in case.files:
        return None
    found = omlab.read(case.files[name][0], kind=kind.kind)
    assert isinstance(found, kind)
    return found


def _regions(case: FileCase) -> list[Polygon]:
    """What is outlined on the slide; a file that holds no regions is warned about and costs no page."""
    if "annotation" not in case.files:
        return []
    try:
        return read_annotation(case.files["annotation"][0])
    except InputError as error:
        warnings.warn(f"{error} The page goes without it.", OmlabWarning, stacklevel=2)
        return []


def _slide(case: FileCase, bag: Bag) -> Slide | None:
    """The slide, with the scale that the bag was made at; None where it is not there any more."""
    if "slide" not in case.files:
        return None
    try:
        return open_slide(case.files["slide"][0], mpp=bag.mpp or 0.0)
    except OmlabError:
        return None
