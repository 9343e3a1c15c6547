"""Make the pictures that are named, or all: see `tools.pictures`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from tools.model_pages import PICTURES
from tools.pictures import drawing, encoders, images, pages, patches, proteins, slides, volumes

SEGMENTATION = {"epochs": 6, "steps_per_epoch": 20, "windows": 1, "augment": False, "patch_size": [32, 64, 64]}
NARROW = {"model.width": 8, "model.mirror": False, "learning_rate": 0.003}
CLICKS = {"epochs": 5, "steps_per_epoch": 30, "learning_rate": 0.001}
SLICES = CLICKS | {"encoder": "all", "rounds": 4}
TEXTS = {"steps": 300, "batch_size": 24}
TIMM = {"model.model": "test_vit.r160_in1k", "model.size": 96, "epochs": 20, "learning_rate": 0.02, "layer_decay": 1.0}
SMALL = {"model.size": 32, "epochs": 20, "learning_rate": 0.005}

MADE: dict[str, Callable[[Path], tuple[Image.Image, str]]] = {
    "omlab-retfound": images.masked_retina,
    "omlab-usfm": images.masked_frequencies,
    "omlab-deblurmim": images.blurred_and_masked,
    "omlab-brow": images.tiles_in_another_order,
    "omlab-endofm": images.views_of_a_clip,
    "omlab-pathoduet": slides.patches_of_a_slide,
    "omlab-slide": partial(slides.heat, "abmil"),
    "omlab-torchmil": partial(slides.heat, "torchmil-abmil"),
    "omlab-prime": partial(proteins.predicted, "prime-tiny"),
    "omlab-esm": partial(proteins.scanned, "esm2-tiny"),
    "omlab-axonseg": partial(volumes.threads, "axonseg-cube-tiny"),
    "omlab-misfm": patches.fused_patches,
    "omlab-medlsam": patches.two_crops,
    "omlab-stunet": partial(volumes.segmented, "stunet-tiny", settings=SEGMENTATION | {"learning_rate": 0.04}),
    "omlab-monai": partial(volumes.segmented, "monai-segresnet", settings=SEGMENTATION | NARROW),
    "omlab-sammed3d": partial(volumes.clicked, "sammed3d-tiny", settings=CLICKS),
    "omlab-sammed2d": partial(volumes.clicked_slices, "sammed2d-tiny-volume", settings=SLICES),
    "omlab-cite": partial(encoders.told, "cite-tiny", drawings=encoders.TISSUE, settings=TEXTS),
    "omlab-timm": partial(encoders.told, "timm.untrained", drawings=encoders.TISSUE, settings=TIMM),
    "omlab-medfmc": partial(encoders.told, "medfmc-vit-tiny", drawings=encoders.FUNDUS, settings=SMALL),
}

PAGES: dict[str, Callable[[Path], tuple[Image.Image, str]]] = {
    "big-volumes": pages.streamed,
    "clips": pages.masked_clip,
    "confidence": pages.doubted,
    "judging-chat-models": pages.board,
    "measure": pages.measured,
    "search": pages.alike,
    "slides": pages.looked_at,
}


def main() -> None:
    """Make pictures, one at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a package, or of a page in docs")
    parser.add_argument("--work", type=Path, help="a folder to keep trained networks in (default: none is kept)")
    asked = parser.parse_args()
    with TemporaryDirectory() as made:
        folder = asked.work or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        for name in asked.names or (*MADE, *PAGES):
            began = time.process_time()
            place = PICTURES if name in MADE else PICTURES.parent
            image, told = (MADE | PAGES)[name](folder)
            drawing.save(image, place / f"{name}.webp", largest=drawing.LARGEST if name in MADE else drawing.SMALLER)
            (place / f"{name}.txt").write_text(told + "\n", encoding="utf-8")
            print(f"{name}: {time.process_time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
