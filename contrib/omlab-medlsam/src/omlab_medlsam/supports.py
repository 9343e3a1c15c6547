"""The kind `support`: a few annotated scans that show a model what to look for, read one by one when needed."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Protocol, cast

import omlab
from omlab.digests import digest_of
from omlab.errors import UsageError
from omlab_volume.volume import LabelMap, Volume


class Scan(Protocol):
    """An annotated scan: light, and picklable."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def volume(self) -> Volume:
        """Read the image. Raises `InputError` that names the file."""
        ...

    def labelmap(self) -> LabelMap:
        """Read its labels. Raises `InputError` that names the file."""
        ...

    def stamp(self) -> object:
        """JSON that differs where the scan does, without reading it."""
        ...


@dataclass(frozen=True, kw_only=True)
class FileScan:
    """An annotated scan on disk."""

    image: Path
    labels: Path

    @property
    def name(self) -> str:
        """Both files: an image may stand in several rows."""
        return f"{self.image.name} ({self.labels.name})"

    def volume(self) -> Volume:
        """Read the image. Raises `InputError` that names the file."""
        return cast(Volume, omlab.read(self.image, kind=Volume.kind))

    def labelmap(self) -> LabelMap:
        """Read its labels. Raises `InputError` that names the file."""
        return cast(LabelMap, omlab.read(self.labels, kind=LabelMap.kind))

    def stamp(self) -> object:
        """Path, size and time of both."""
        found = [(path, path.stat()) for path in (self.image, self.labels)]
        return [[str(path), facts.st_size, facts.st_mtime_ns] for path, facts in found]


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedScan:
    """An annotated scan in memory."""

    name: str
    image: Volume
    labels: LabelMap

    def volume(self) -> Volume:
        """The image."""
        return self.image

    def labelmap(self) -> LabelMap:
        """Its labels."""
        return self.labels

    def stamp(self) -> object:
        """What it holds."""
        arrays = (self.image.array, self.image.affine, self.labels.array, self.labels.affine)
        return [self.name, *(sha256(array.tobytes()).hexdigest() for array in arrays)]


@dataclass(frozen=True, kw_only=True)
class Support:
    """Annotated scans of the same structures.

    Raises `UsageError` where there is none.
    """

    kind: ClassVar[str] = "support"

    scans: tuple[Scan, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "scans", tuple(self.scans))
        if not self.scans:
            raise UsageError("A support has at least one annotated scan; three to ten do well.")

    def stamp(self) -> str:
        """A digest that differs where the support does, without reading its files."""
        return digest_of([scan.stamp() for scan in self.scans])
