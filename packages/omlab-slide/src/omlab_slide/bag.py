"""Bags (kind `bag`): the features of a slide's patches, with where each patch lies.

bag = omlab.read("features/case.bag.zarr")
bag.features[:100]                       # (100, D): read when it is asked for
bag.loaded().features                    # (N, D) in memory
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from omlab.errors import InputError
from omlab.payloads import Payload
from omlab.payloads import nbytes as bytes_of

if TYPE_CHECKING:
    from omlab_slide.tissue import Tissue

Coords = NDArray[np.int32]
_CHUNK_BYTES = 1 << 20


class Features(Protocol):
    """Features (N, D) that are read by rows: an array, or what is read or computed when it is asked for."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """float16 or float32."""
        ...

    def __getitem__(self, rows: slice | NDArray[np.integer], /) -> NDArray[Any]:
        """The rows of a slice, or of those numbers, (n, D). Raises `InputError` where a file cannot be read."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class ComputedFeatures:
    """Features that are computed chunk by chunk when they are asked for: what writes them holds one chunk at a time.

    A chunk is the same whichever was the first that was asked for, so that a start that was killed goes on with the
    first one that is not written.

    Attributes:
        shape: (N, D).
        rows: Rows of a chunk; the last one may have fewer.
        compute: Number of a chunk -> that chunk (rows, D) of float32, and all after it.
    """

    shape: tuple[int, int]
    rows: int
    compute: Callable[[int], Generator[NDArray[np.float32]]]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return np.dtype(np.float32)

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.shape[0] // self.rows)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer], /) -> NDArray[np.float32]:
        if not isinstance(rows, slice):
            return np.asarray(self[:][rows])
        first, last, step = rows.indices(self.shape[0])
        if first >= last:
            return np.zeros((0, self.shape[1]), np.float32)
        begin = first // self.rows
        with closing(self.compute(begin)) as chunks:
            found = list(islice(chunks, -(-last // self.rows) - begin))
        start = begin * self.rows
        return np.concatenate(found)[first - start : last - start : step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # NumPy's form
        return np.asarray(self[:], dtype)


@dataclass(frozen=True, eq=False, kw_only=True)
class Bag:
    """The features of a slide's patches.

    Attributes:
        features: (N, D) float16 or float32; may be lazy: sliced it gives arrays (`Features`).
        coords: (N, 2) int32, the top-left corner (x, y) of each patch in pixels of level 0.
        share: (N,) float16, how much of each patch is tissue.
        size0: Side of a patch in pixels of level 0.
        dimensions: Width and height of level 0.
        mpp: Micrometres a pixel at level 0; None where it is not known.
        size: Side of a patch in pixels as it was read; 0: not known.
        target_mpp: Micrometres a pixel that were asked for; None: not known.
        overlap: Pixels that neighbouring patches share, as they were read.
        tissue: Where tissue was found: mask and outlines.
        encoder: What made the features: name, weights, preprocessing (JSON).
        slide: What they were made from: name, digest (JSON).

    Raises `InputError` where these do not fit each other.
    """

    kind: ClassVar[str] = "bag"

    features: Any
    coords: Coords
    share: NDArray[np.float16]
    size0: int
    dimensions: tuple[int, int]
    mpp: float | None = None
    size: int = 0
    target_mpp: float | None = None
    overlap: int = 0
    tissue: Tissue | None = None
    encoder: Mapping[str, Any] = field(default_factory=dict)
    slide: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = self.coords.shape[0]
        if self.coords.shape != (count, 2) or not count:
            raise InputError(f"The coordinates of a bag are (N, 2) of at least one patch, not {self.coords.shape}.")
        if len(self.features.shape) != 2 or self.features.shape[0] != count or self.share.shape != (count,):
            raise InputError(
                f"A bag of {count} patches has features (N, D) and shares (N,) for as many, not "
                f"{tuple(self.features.shape)} and {self.share.shape}."
            )
        if np.dtype(self.features.dtype).name not in ("float16", "float32"):
            raise InputError(f"The features of a bag are float16 or float32, not {self.features.dtype}.")
        object.__setattr__(self, "dimensions", (int(self.dimensions[0]), int(self.dimensions[1])))

    def __len__(self) -> int:
        return int(self.coords.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory; features in a file do not count."""
        mask = 0 if self.tissue is None else self.tissue.mask.nbytes
        held = self.features.nbytes if isinstance(self.features, np.ndarray) else 0
        return int(held + self.coords.nbytes + self.share.nbytes + mask)

    @property
    def is_computed(self) -> bool:
        """Whether its features are yet to be computed."""
        return isinstance(self.features, ComputedFeatures)

    def blocks(self, rows: int = 0) -> Iterator[tuple[int, NDArray[Any]]]:
        """The features from the first row on, some at a time: (number of the first row, its (n, D)).

        `rows`: how many at a time; 0: about 1 MB. What is computed comes in the chunks that it is computed in.
        """
        if isinstance(self.features, ComputedFeatures):
            for number, chunk in enumerate(self.features.compute(0)):
                yield number * self.features.rows, chunk
            return
        rows = rows or chunk_rows(self.features.shape[1], self.features.dtype)
        for start in range(0, len(self), rows):
            yield start, np.asarray(self.features[start : start + rows])

    def is_finite(self) -> bool:
        """Whether no feature is NaN or infinite; those that are computed are looked at when they are."""
        if self.is_computed:
            return True
        return all(np.isfinite(block).all() for _, block in self.blocks())

    @classmethod
    def stack(cls, bags: Sequence[Payload]) -> Bags:
        """The bags of several slides that are one case, such as those of a patient."""
        return Bags(parts_of_case=tuple(bags))

    def loaded(self) -> Bag:
        """The same with its features in memory."""
        return replace(self, features=np.asarray(self.features[:]))

    def same_frame(self, other: Any) -> bool:
        """Whether `other` (a slide, a bag, a heat map) is of a slide of these dimensions."""
        found: bool = getattr(other, "dimensions", None) == self.dimensions
        return found

    @property
    def area(self) -> float | None:
        """Square millimetres of tissue that the patches show; None without a scale. Overlaps count once each."""
        if self.mpp is None:
            return None
        seen = (self.size0 * self.mpp / 1000) ** 2
        if self.size:
            seen *= (1 - self.overlap / self.size) ** 2
        return float(self.share.astype(np.float64).sum() * seen)

    def in_words(self) -> str:
        """How much there is of it, in a line."""
        where = "" if self.area is None else f" on {self.area:.3g} mm2 of tissue"
        side = "" if self.mpp is None else f" of {self.size0 * self.mpp:.4g} um"
        return f"{len(self):,} patches{side}{where}, {self.features.shape[1]} features each"


@dataclass(frozen=True, eq=False, kw_only=True)
class Bags:
    """The bags of several slides that are one case.

    Attributes:
        parts_of_case: `Bag`, or what stands for one (`omlab_slide.mil.several.BagOfSlide`).
    """

    kind: ClassVar[str] = "bag"

    parts_of_case: Sequence[Payload]

    @property
    def nbytes(self) -> int:
        """Bytes that they hold."""
        return sum(map(bytes_of, self.parts_of_case))


def chunk_rows(width: int, dtype: Any) -> int:
    """Rows of a chunk of features: a power of two, of about 1 MB together."""
    most = int(_CHUNK_BYTES // (width * np.dtype(dtype).itemsize))
    return 1 << max(0, most.bit_length() - 1)
