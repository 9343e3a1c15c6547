"""Pictures of models for images and clips: what their published recipes do to what they are shown.

Nothing here needs weights: it is what networks are asked to undo, or to find alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow

import omlab
from omlab_image.patches import draw_mask
from omlab_image.transforms import evaluation
from tools.pictures.drawing import beside, of_array
from tools.workspace import ROOT

SHARED = next((up / "shared" / "data" for up in ROOT.parents if (up / "shared" / "data").is_dir()), ROOT / "absent")
RETINA = SHARED / "pictures" / "retina.jpg"
STAINED = SHARED / "pictures" / "ihc.png"
SLICE = SHARED / "slices-2d" / "images" / "s0114_111.png"
CLIP = SHARED / "clip" / "nasa_13013.mp4"
SIZE, SIDE = 224, 320
GREY = 0.5

Made = tuple[Pillow.Image, str]


def seen(path: Path, size: int = SIZE) -> torch.Tensor:
    """A picture as a network sees it, (3, S, S) from 0 to 1."""
    see = evaluation(size, crop=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return see(omlab.read(path, kind="image")).clamp(0, 1)  # type: ignore[arg-type]  # the kind of the file is known


def shown(image: torch.Tensor) -> Pillow.Image:
    """A tensor (3, S, S) from 0 to 1 as a picture."""
    return of_array(image.permute(1, 2, 0).numpy(), side=SIDE)


def masked_retina(folder: Path) -> Made:
    """RETFound's masked autoencoder: three quarters of the patches are hidden."""
    image = seen(RETINA)
    hidden = _pixels(draw_mask(torch.rand(1, 14 * 14, generator=_draws()), ratio=0.75).mask, patch=16)
    left = torch.where(hidden, GREY, image)
    return beside(shown(image), shown(left), names=("what the network sees", "what pre-training leaves")), (
        "A fundus photograph as the network sees it, and the quarter of its patches that the recipe mae leaves: "
        "from these the network paints the rest. What it paints needs weights and is not shown"
    )


def masked_frequencies(folder: Path) -> Made:
    """USFM: blocks of pixels and bands of frequencies are hidden."""
    from omlab_usfm.masking import Bands, Blocks, band_stopped, chosen, enlarged, mean_filled

    image, draws = seen(SLICE), _draws()
    bands, blocks = Bands(size=SIZE), Blocks(size=SIZE)
    rings = chosen(len(bands), share=0.4, batch=1, generator=draws)
    stopped = band_stopped(image, bands.without(rings)[0])
    mask = blocks.drawn(1, draws)
    left = mean_filled(stopped, mask[0])
    assert enlarged(mask, blocks.patch).shape[-1] == SIZE
    names = ("an image", "without some frequencies", "and without some blocks")
    return beside(shown(image), shown(stopped.clamp(0, 1)), shown(left.clamp(0, 1)), names=names), (
        "What the recipe spatial-frequency hides from the network, which is to make the image whole again. Drawn on a "
        "CT slice, for no ultrasound image may be shown here"
    )


def blurred_and_masked(folder: Path) -> Made:
    """Deblurring masked autoencoder: the image is blurred, and most of its patches are hidden."""
    from omlab_deblurmim.blur import Blur

    image = seen(SLICE)
    blurred = torch.from_numpy(Blur(sigma=2.0)(image.permute(1, 2, 0).numpy())).permute(2, 0, 1)
    hidden = _pixels(draw_mask(torch.rand(1, 14 * 14, generator=_draws()), ratio=0.75).mask, patch=16)
    left = torch.where(hidden, GREY, blurred)
    return beside(shown(image), shown(blurred), shown(left), names=("an image", "blurred", "and masked")), (
        "What the recipe deblurring shows the network, which is to paint the sharp image: blurred, a quarter of its "
        "patches. Drawn on a CT slice, for no ultrasound image may be shown here"
    )


def tiles_in_another_order(folder: Path) -> Made:
    """BROW: views of a picture whose tiles lie in another order."""
    from omlab_brow.distillation import shuffled

    image = seen(STAINED)
    moved = shuffled(image[None, None], grid=4, generator=_draws())[0, 0]
    return beside(shown(image), shown(moved), names=("stained tissue", "a view of it")), (
        "Stained tissue and one of the views that self-distillation makes of it, its tiles in another order: "
        "the features of both are to agree"
    )


def views_of_a_clip(folder: Path) -> Made:
    """Endo-FM: frames of the views that its self-distillation compares."""
    from omlab_endofm.views import ClipViews

    clip: Any = omlab.read(CLIP)
    views = ClipViews(size=160, local_size=160)(clip, 1)
    rows = []
    for name in ("global-0", "local-0"):
        frames = views[name]
        chosen = np.linspace(0, frames.shape[1] - 1, 4).astype(int)
        low, high = frames.min(), frames.max()
        rows.append(
            [of_array(((frames[:, n] - low) / (high - low)).permute(1, 2, 0).numpy(), side=160) for n in chosen]
        )
    names = ("a view of the whole", "", "", "", "a view of a part", "", "", "")
    return beside(*rows[0], *rows[1], names=names), (
        "Frames of two views of one clip, of the whole and of a short part: the recipe dino has their features agree. "
        "Drawn on a film of NASA's, for no endoscopy may be shown here"
    )


def _draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _pixels(mask: torch.Tensor, *, patch: int) -> torch.Tensor:
    """(1, L) for patches -> (S, S) bool for pixels."""
    side = round(mask.shape[1] ** 0.5)
    square = mask.view(side, side) > 0
    return square.repeat_interleave(patch, dim=0).repeat_interleave(patch, dim=1)
