"""`SlideEncoder`: tissue, patch grid, tiles read in threads, an encoder of images in batches, a bag.

encoder = SlideEncoder(model, card=card, weights=weights, settings=settings)
[bag] = encoder.embed([encoder.prepare("embed", {"slide": slide})])        # nothing is encoded yet
omlab.write(bag, "case.bag.zarr")                                          # encoded while it is written
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

import omlab
from omlab.card_schema import ModelCard
from omlab.errors import InputError, OmlabWarning
from omlab.payloads import Inputs
from omlab.stamps import stamp
from omlab.weights import Weights
from omlab_slide.bag import Bag, ComputedFeatures, chunk_rows
from omlab_slide.encoding.image_encoder import ImageEncoder
from omlab_slide.grid import Patches, check_grid, patches
from omlab_slide.slide import Slide
from omlab_slide.tiles import each_tile
from omlab_slide.tissue import Tissue, tissue

_WHITE = 255


@dataclass(frozen=True, eq=False, kw_only=True)
class Planned:
    """A slide whose tissue was found and cut into patches; nothing is encoded yet."""

    slide: Slide
    tissue: Tissue
    patches: Patches
    digest: str

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return int(self.tissue.mask.nbytes + self.patches.coords.nbytes + self.patches.share.nbytes)


class SlideEncoder:
    """The verb `embed` from `slide` to `bag` of any encoder of images (`omlab.roles.Model`).

    Tissue is found and cut into patches by the threads that read cases ahead. Patches are read, and brought to what the
    encoder takes, by threads of its own, at most two batches ahead; they are encoded while the bag is written, so that
    memory is that of some batches however large the slide is, and a bag that is begun is gone on with.

    Args:
        encoder: A model with `embed` (and `prepare`, where it has it) for the input `image`, or a session of any model.
        settings: `mpp`, `patch`, `overlap`, `least_share` and `tissue` (README); all others are the encoder's own and
            stand in the bag.
        card: The encoder's card; not needed for a session.
        weights: The encoder's weights, likewise.
        batch: Patches that are encoded at once; None: what a session's card says, else 32.

    Raises `UsageError` where there can be no such patches.
    """

    def __init__(
        self,
        encoder: Any,
        *,
        settings: Mapping[str, Any],
        card: ModelCard | None = None,
        weights: Weights | None = None,
        batch: int | None = None,
    ) -> None:
        grid = ("mpp", "patch", "overlap", "least_share", "tissue")
        self.mpp, self.patch, self.overlap, self.least_share, self.tissue = (settings[name] for name in grid)
        check_grid(patch=self.patch, overlap=self.overlap, least_share=self.least_share)
        own = {name: value for name, value in settings.items() if name not in grid}
        self.encoder = ImageEncoder(encoder, card=card, weights=weights, settings=own, batch=batch)
        self._widths: dict[str, int] = {}

    def prepare(self, verb: str, inputs: Inputs, /, **options: Any) -> Planned:
        """Find the tissue of a slide and cut it into patches.

        Raises `InputError` where the slide has no scale, shows no tissue, or no patch has enough of it.
        """
        slide = omlab.take(inputs, "slide", Slide)
        slide.scale  # noqa: B018  # raises before anything is read
        found = tissue(slide, method=self.tissue)
        if not found.mask.any():
            raise InputError(f"{slide.name} shows no tissue by '{self.tissue}': look at it with omlab slide look.")
        grid = patches(
            slide, mpp=self.mpp, patch=self.patch, overlap=self.overlap, tissue=found, least_share=self.least_share
        )
        if not len(grid.coords):
            raise InputError(
                f"{slide.name} has no patch of {self.patch} pixels at {self.mpp:g} um with {self.least_share:.0%} "
                "tissue: choose smaller patches or a lower least_share."
            )
        digest = "" if slide.path is None else stamp(slide.path, digest=True, sampled=True).sha256
        return Planned(slide=slide, tissue=found, patches=grid, digest=digest)

    def embed(self, batch: Sequence[Planned], /, **options: Any) -> Iterator[Bag]:
        """The bags of slides; their features are computed when they are asked for. `options` are the encoder's."""
        for planned in batch:
            yield self._bag(planned, options)

    def _bag(self, planned: Planned, options: Mapping[str, Any]) -> Bag:
        grid, slide = planned.patches, planned.slide
        width = self._width(options)
        features = ComputedFeatures(
            shape=(len(grid.coords), width),
            rows=chunk_rows(width, np.float32),
            compute=partial(self._chunks, planned, options),
        )
        return Bag(
            features=features,
            coords=grid.coords,
            share=grid.share,
            size0=grid.size0,
            dimensions=slide.dimensions,
            mpp=slide.mpp,
            size=grid.size,
            target_mpp=self.mpp,
            overlap=self.overlap,
            tissue=planned.tissue,
            encoder={**self.encoder.facts, **({"options": dict(options)} if options else {})},
            slide={
                "name": slide.name if slide.path is None else slide.path.name,
                "sampled_sha256": planned.digest,
                "tissue": self.tissue,
                "least_share": self.least_share,
            },
        )

    def _width(self, options: Mapping[str, Any]) -> int:
        """How many features the encoder gives: it is asked once, for an empty patch."""
        key = repr(sorted(options.items()))
        if key not in self._widths:
            blank = np.full((self.patch, self.patch, 3), _WHITE, np.uint8)
            ready = self.encoder.ready(blank, mpp=self.mpp, options=options)
            self._widths[key] = int(self.encoder.encode([ready], options).shape[1])
        return self._widths[key]

    def _chunks(self, planned: Planned, options: Mapping[str, Any], first: int) -> Generator[NDArray[np.float32]]:
        """The features of chunk `first`, and of all after it.

        Batches begin anew with each chunk, which is thereby the same wherever the work began.
        """
        count, width = len(planned.patches.coords), self._width(options)
        rows = chunk_rows(width, np.float32)
        flawed: list[int] = []

        def ready(pixels: NDArray[np.uint8]) -> Any:
            return self.encoder.ready(pixels, mpp=planned.patches.mpp, options=options)

        tiles = each_tile(
            planned.slide,
            planned.patches.coords,
            downsample=planned.patches.downsample,
            size=planned.patches.size,
            then=ready,
            batch=self.encoder.batch,
            start=first * rows,
        )
        try:
            for start in range(first * rows, count, rows):
                chunk = np.empty((min(rows, count - start), width), np.float32)
                for at in range(0, len(chunk), self.encoder.batch):
                    part = list(islice(tiles, min(self.encoder.batch, len(chunk) - at)))
                    flawed += [tile.index for tile in part if tile.flaws]
                    values = [tile.value for tile in part]
                    chunk[at : at + len(part)] = self._encoded(values, options, planned, first=start + at)
                yield chunk
        finally:  # also where no more chunks are asked for
            tiles.close()
            _warn_of(flawed, planned)

    def _encoded(
        self, patches: Sequence[Any], options: Mapping[str, Any], planned: Planned, *, first: int
    ) -> NDArray[np.float32]:
        try:
            return self.encoder.encode(patches, options)
        except InputError as error:
            x, y = planned.patches.coords[first]
            raise InputError(
                f"{planned.slide.name} has patches, from {x}, {y} on, that cannot be encoded: {error}"
            ) from error


def _warn_of(flawed: Sequence[int], planned: Planned) -> None:
    if flawed:
        x, y = planned.patches.coords[flawed[0]]
        warnings.warn(
            f"{planned.slide.name}: {len(flawed)} of {len(planned.patches.coords):,} patches have parts that could not "
            f"be read as they stand in the file, the first at {x}, {y}: they are from another level, or white.",
            OmlabWarning,
            stacklevel=2,
        )


__all__ = ["Planned", "SlideEncoder"]
