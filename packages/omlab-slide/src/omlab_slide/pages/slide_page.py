"""The report of one slide: thumbnail with tissue and grid, heat map, the patches that stand out, what the bag is of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from omlab_report import (
    Facts,
    Gallery,
    GalleryItem,
    KeyFigure,
    KeyFigures,
    Page,
    Picture,
    Section,
    write_page,
)
from omlab_slide.bag import Bag
from omlab_slide.grid import Patches
from omlab_slide.heat import HeatMap
from omlab_slide.heat.annotation import Agreement
from omlab_slide.heat.patches import Shown, top_and_bottom
from omlab_slide.heat.picture import picture
from omlab_slide.look.picture import CANVAS, OUTLINE, PATCH, sheet_picture
from omlab_slide.slide import Slide
from omlab_slide.tissue.polygons import Polygon

_SHOWN = 8
_LARGE = (1120, 840)


def write_slide_page(
    id: str,
    bag: Bag,
    path: Path,
    *,
    slide: Slide | None,
    heat: HeatMap | None,
    regions: Sequence[Polygon] = (),
    found: Agreement | None = None,
    notices: Sequence[str] = (),
) -> None:
    """Write the page of a slide; without `slide` it has no pictures of it, without `heat` no heat map.

    `regions` are what somebody outlined on it, and `found` how far the highest scores lie there.
    `notices` stand above all figures.
    """
    sections = [Section("", [KeyFigures([*_figures(bag), *_agreeing(found)])])]
    if slide is not None and bag.tissue is not None and slide.mpp is not None:
        shown = Picture(thumbnail(bag, slide, canvas=_LARGE), alt=f"{id} with its tissue and patches")
        legend = {"tissue": OUTLINE, "patches": PATCH}
        sections.append(Section("Tissue and patches", [Gallery([GalleryItem("", [shown])], legend=legend)]))
    if heat is not None:
        over = Picture(
            picture(heat, slide=slide, regions=regions), alt=f"{heat.name} over {id}", caption=heat.in_words()
        )
        sections.append(Section("Heat map", [Gallery([GalleryItem("", [over])])]))
        if slide is not None:
            high, low = top_and_bottom(heat, slide, count=_SHOWN)
            sections.append(_patches("Highest scores", high, bag.mpp))
            sections.append(_patches("Lowest scores", low, bag.mpp))
    sections.append(Section("What the features are", [Facts(facts_of(bag))]))
    write_page(Page(id, sections, subtitle=bag.in_words(), notices=notices), path)


def thumbnail(bag: Bag, slide: Slide, *, canvas: tuple[int, int] = CANVAS) -> bytes:
    """A JPEG of the slide with its tissue's outline, the bag's patches and a scale bar. Both have their scale."""
    assert bag.tissue is not None
    size = bag.size or bag.size0
    grid = Patches(
        coords=bag.coords,
        share=bag.share,
        size0=bag.size0,
        size=size,
        mpp=slide.scale * bag.size0 / size,
        downsample=bag.size0 / size,
    )
    return sheet_picture(slide, tissue=bag.tissue, patches=grid, canvas=canvas)


def facts_of(bag: Bag) -> dict[str, str]:
    """What the bag says of itself, in words."""
    tag = (bag.encoder.get("weights") or {}).get("tag")
    found = {
        "Slide": str(bag.slide.get("name", "")),
        "Size": _size(bag),
        "Tissue by": str(bag.slide.get("tissue", "")),
        "Patches": f"{bag.size} pixels" + ("" if bag.target_mpp is None else f" at {bag.target_mpp:g} µm a pixel"),
        "Overlap": f"{bag.overlap} pixels",
        "Encoder": str(bag.encoder.get("name", "")),
        "Weights": str(tag or ""),
        "Digest of the slide": str(bag.slide.get("sampled_sha256", "")),
    }
    return {name: value for name, value in found.items() if value}


def _figures(bag: Bag) -> Iterator[KeyFigure]:
    yield KeyFigure("Patches", len(bag))
    yield KeyFigure("Tissue in patches", bag.area, unit="mm²", digits=2)
    yield KeyFigure("Features", int(bag.features.shape[1]))
    yield KeyFigure("Scale", bag.mpp, unit="µm a pixel", digits=3)


def _agreeing(found: Agreement | None) -> Iterator[KeyFigure]:
    if found is not None:
        note = f"of the {found.patches} annotated patches and as many with the highest scores"
        if not found.patches:
            note = "the annotation covers no patch by half"
        yield KeyFigure("Dice with the annotation", found.dice, digits=2, note=note)


def _size(bag: Bag) -> str:
    width, height = bag.dimensions
    if bag.mpp is None:
        return f"{width:,} x {height:,} pixels"
    return f"{width * bag.mpp / 1000:.1f} x {height * bag.mpp / 1000:.1f} mm ({width:,} x {height:,} pixels)"


def _patches(title: str, shown: list[Shown], mpp: float | None) -> Section:
    pictures = [
        Picture(one.pixels, alt=f"patch at {one.place}", caption=f"{one.score:.3g} at {_place(one, mpp)}")
        for one in shown
    ]
    return Section(title, [Gallery([GalleryItem("", pictures)], small=True)])


def _place(one: Shown, mpp: float | None) -> str:
    x, y = one.place
    return f"{x}, {y}" if mpp is None else f"{x * mpp / 1000:.2f}, {y * mpp / 1000:.2f} mm"
