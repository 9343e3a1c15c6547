"""What features are of: their encoder, and at which size and scale it saw patches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omlab_slide.bag import Bag

_ALIKE = 0.1
"""Scales that differ by less of the larger one show the same."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the features of bags are of; what is not known is empty or 0, and fits everything.

    Attributes:
        encoder: Name of what made them.
        patch: Side of a patch in pixels, as it was read.
        mpp: Micrometres a pixel that patches were read at.
    """

    encoder: str = ""
    patch: int = 0
    mpp: float = 0.0

    @classmethod
    def of(cls, bag: Bag) -> Origin:
        """That of a bag."""
        return cls(encoder=str(bag.encoder.get("name", "")), patch=bag.size, mpp=bag.target_mpp or 0.0)

    @classmethod
    def shared(cls, origins: Iterable[Origin]) -> Origin:
        """What several have in common."""
        found = set(origins)
        values = {name: {getattr(one, name) for one in found} for name in ("encoder", "patch", "mpp")}
        return cls(**{name: own.pop() for name, own in values.items() if len(own) == 1})

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Origin:
        """What `to_config` gave. Raises `KeyError`, `TypeError` or `ValueError`."""
        return cls(encoder=str(config["encoder"]), patch=int(config["patch"]), mpp=float(config["mpp"]))

    def unlike(self, other: Origin) -> str:
        """What `other` has that features of this origin have not, with what they have; "" where they fit."""
        if self.encoder and other.encoder and self.encoder != other.encoder:
            return f"features of {other.encoder}, but this model was trained on those of {self.encoder}"
        sizes_differ = self.patch and other.patch and self.patch != other.patch
        scales_differ = self.mpp and other.mpp and abs(self.mpp - other.mpp) > _ALIKE * max(self.mpp, other.mpp)
        if sizes_differ or scales_differ:
            return f"patches of {other._patches()}, but this model was trained on patches of {self._patches()}"
        return ""

    def _patches(self) -> str:
        size = f"{self.patch} pixels" if self.patch else "a size that is not known"
        return size + (f" at {self.mpp:g} um a pixel" if self.mpp else "")
