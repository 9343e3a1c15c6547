import json
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from omlab.errors import InputError


@dataclass(frozen=True, eq=False)
class Scan:
    """Intensities (I, J, K); K is 1 in two dimensions. `affine` takes voxels to mm."""

    kind: ClassVar[str] = "scan"
    array: np.ndarray
    affine: np.ndarray = field(default_factory=lambda: np.eye(4))

    @property
    def nbytes(self):
        return self.array.nbytes + self.affine.nbytes

    @property
    def shape(self):
        return self.array.shape

    def is_finite(self):
        return bool(np.isfinite(self.array).all())

    def same_grid(self, other):
        return self.shape == other.shape and np.allclose(self.affine, other.affine)


class Mask(Scan):
    kind: ClassVar[str] = "mask"


class ScanJson:
    def read(self, path, *, kind):
        try:
            found = json.loads(path.read_text())
            array, affine = (
                np.array(found["array"], np.float32 if kind == "scan" else np.uint8),
                np.array(found["affine"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no {kind}: {error}.") from error
        return {"scan": Scan, "mask": Mask}[kind](array, affine)

    def write(self, payload, path, *, inputs):
        path.write_text(json.dumps({"array": payload.array.tolist(), "affine": payload.affine.tolist()}))


def example_scans():
    places = np.moveaxis(np.indices((8, 6, 1)), 0, -1)
    return [Scan(np.exp(-((places - (at, 2, 0)) ** 2).sum(-1) / 4).astype(np.float32)) for at in (1, 4, 6)]


def example_masks():
    return [Mask((scan.array > 0.5).astype(np.uint8)) for scan in example_scans()]


def odd_scans():
    plain = example_scans()[0].array
    return {"nan": Scan(np.full_like(plain, np.nan)), "one voxel": Scan(plain[:1, :1]), "constant": Scan(0 * plain)}
