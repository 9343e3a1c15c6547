"""The reader of docs/slides.md: five drawn slides, of which every other one holds a plant."""

from __future__ import annotations

from pathlib import Path

from omlab_slide.testing import draw_slide, write_pyramid
from tools.shown.reader import Reader, written

SIZE = (1024, 768)
SPLITS = ("train", "train", "val", "test", "test")


def files(folder: Path) -> None:
    """Slides, their table, and a slide that does not say its scale."""
    (folder / "slides").mkdir()
    rows = ["slide,label,patient,split"]
    for number, split in enumerate(SPLITS):
        plant = (0.3, 0.5, 0.2) if number % 2 else None
        write_pyramid(folder / "slides" / f"a{number}.tiff", draw_slide(SIZE, seed=number, plant=plant), levels=2)
        rows.append(f"a{number},{('normal', 'tumour')[number % 2]},p{number},{split}")
    written(folder / "slides.csv", *rows)
    write_pyramid(folder / "no-scale.tif", draw_slide(SIZE), mpp=None, levels=2)


SLIDES = Reader(
    files=files,
    instead=[("pathoduet-he", "pathoduet-tiny.untrained"), ("(adapt .*)", r"\1 -s epochs=1")],
)
