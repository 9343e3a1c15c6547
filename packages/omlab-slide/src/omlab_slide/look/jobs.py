"""`omlab slide look` as a function: slides to a run with a table and a contact sheet, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omlab.arguments import paths_of
from omlab.card_schema import Verb
from omlab.cases import Source
from omlab.digests import digest_of
from omlab.errors import UsageError
from omlab.files import writing
from omlab.jobs.outcome import Outcome
from omlab.jobs.outputs import file_name
from omlab.jobs.run_cases import FileCase, run_cases
from omlab.jobs.sources import Given, chosen_cases
from omlab.payloads import take
from omlab.records import Role
from omlab.roles import Case
from omlab_slide.grid import Patches, as_mpp, check_grid, patches
from omlab_slide.look.page import PICTURE, conclude
from omlab_slide.look.picture import sheet_picture
from omlab_slide.quality import quality
from omlab_slide.slide import Slide
from omlab_slide.tissue.find import CLAM_METHODS, METHODS, Tissue, tissue

KIND = "slide-look"
SLIDE = "slide"
_TAKES = Verb(takes={SLIDE: "slide"}, gives="slide")


def look_at_slides(
    slides: str | Path | Sequence[str | Path] = (),
    *,
    data: str | None = None,
    split: str | None = None,
    root: str | Path | None = None,
    data_settings: Mapping[str, Any] | None = None,
    mapped: Mapping[str, str] | None = None,
    read_settings: Mapping[str, Mapping[str, Any]] | None = None,
    output: str | Path | None = None,
    mpp: float | str = 0.5,
    patch: int = 256,
    overlap: int = 0,
    least_share: float = 0.5,
    method: str = "saturation",
) -> Outcome:
    """Find the tissue of slides, count patches, and note what is doubtful.

    Args:
        slides: Files and folders.
        data: Name of a data set (`NAME` or `NAME:PATH`) in place of them.
        split: Its split; by default `test`, of own files all.
        root: Where its files are.
        data_settings: Values for its settings.
        mapped: Its name of the input `slide`, where it cannot be told.
        read_settings: Values for the settings of formats, by input ("" for all).
        output: A folder; by default one in `omlab-runs/`.
        mpp: Micrometres a pixel of the patches that are counted, or a magnification such as `20x`.
        patch: Side of a patch in pixels.
        overlap: Pixels that it shares with the next.
        least_share: Of a patch that must be tissue.
        method: How tissue is found.

    Raises:
        OmlabError: When nothing could be started, no slide could be looked at, or nothing more can be written.
    """
    if method not in (*METHODS, *CLAM_METHODS):
        raise UsageError(f"Tissue is found by {', '.join([*METHODS, *CLAM_METHODS])}, not by '{method}'.")
    check_grid(patch=patch, overlap=overlap, least_share=least_share)
    read = dict(read_settings or {})
    given = Given(paths=paths_of(slides, "A slide"), read=read)
    source, cases = chosen_cases(
        given, _TAKES, model=KIND, data=data, split=split, root=root, settings=data_settings, mapped=mapped
    )
    work = _Work(
        cases={case.id: case for case in cases},
        mpp=as_mpp(mpp),
        patch=patch,
        overlap=overlap,
        least_share=least_share,
        method=method,
    )
    request = {
        "command": KIND,
        "mpp": work.mpp,
        "patch": patch,
        "overlap": overlap,
        "least_share": least_share,
        "tissue": method,
        "read": read,
        **({"data": source.card.name} if source is not None else {}),
    }
    files = sorted(str(path.absolute()) for case in cases for paths in case.files.values() for path in paths)
    return run_cases(
        [_case(case) for case in cases],
        work.do,
        output=output or Path("omlab-runs") / f"{KIND}-{digest_of([request, files])[:8]}",
        request=request,
        kind=KIND,
        arguments={"inputs": [*map(str, given.paths)] or [data]},
        report=partial(conclude, request=request),
        role=lambda name: Role("picture"),
    )


@dataclass(frozen=True, kw_only=True)
class _SlideCase(FileCase):
    """A case that knows what its list says of its files (`omlab.stamps.parts_of`)."""

    sources: Mapping[str, Source]


def _case(case: Case) -> _SlideCase:
    sources = {name: source for name, source in getattr(case, "sources", {}).items() if name == SLIDE}
    return _SlideCase(id=case.id, files={SLIDE: case.files[SLIDE]}, group=case.group, sampled=[SLIDE], sources=sources)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is done with each slide."""

    cases: Mapping[str, Case]
    mpp: float
    patch: int
    overlap: int
    least_share: float
    method: str

    def do(self, case: FileCase, folder: Path) -> Mapping[str, Any]:
        """Look at one slide, and draw it into its folder."""
        slide = take(self.cases[case.id].load().inputs, SLIDE, Slide)
        mpp = slide.scale
        found = tissue(slide, self.method)
        grid = patches(
            slide,
            mpp=self.mpp,
            patch=self.patch,
            overlap=self.overlap,
            tissue=found,
            least_share=self.least_share,
        )
        picture = sheet_picture(slide, tissue=found, patches=grid)
        row = {
            "width": slide.dimensions[0],
            "height": slide.dimensions[1],
            "levels": len(slide.levels),
            "mpp": round(mpp, 6),
            "tissue_mm2": round(found.area_mm2 or 0.0, 4),
            "tissue_share": round(found.share, 5),
            "pieces": len(found.polygons),
            "patches": len(grid),
            **quality(slide, found).to_value(),
            "reason": self._reason(found, grid),
        }
        slide.close()
        with writing("A picture", folder):
            (folder / f"{file_name(case.id)}{PICTURE}").write_bytes(picture)
        return {"rows": [row]}

    def _reason(self, found: Tissue, grid: Patches) -> str:
        """Why nothing would be done with a slide."""
        if not found.polygons:
            return "no tissue was found"
        if not len(grid):
            return f"no patch holds {100 * self.least_share:.0f} % tissue"
        return ""
