from dataclasses import dataclass
from typing import Any

import numpy as np
from omlab_toy_scans.scan import Mask, Scan

from omlab.errors import InputError


class Grower:
    """Marks what is about as bright as the clicked voxels, within two voxels of them."""

    def predict(self, batch, /, *, reach=2):
        for inputs in batch:
            scan, prompts = inputs["scan"], inputs["prompts"]
            if not scan.is_finite():
                yield InputError("The scan has values that are not finite.")
                continue
            found = prompts.in_voxels(scan.affine, shape=scan.shape, image=prompts.image or "example")
            mask = np.zeros(scan.shape, np.uint8)
            places = np.moveaxis(np.indices(scan.shape), 0, -1)
            for number, entry in enumerate(found.objects, start=1):
                for at, label in ((np.round(point.at).astype(int), point.label) for point in entry.points):
                    near = (np.abs(places - at) <= reach).all(axis=-1)
                    mask[near & (scan.array >= 0.5 * scan.array[tuple(at)])] = number * label
            yield Mask(mask, scan.affine)


def load(card, *, weights, needs, device, settings, config):
    return Grower()


@dataclass(frozen=True)
class Motion:
    payload: Any
    target: Any
    moved: Any
    world: Any
    voxels: Any
    exact: bool = True

    def result(self, result):
        return Mask(result.array, self.moved.affine)


class ScanMotions:
    def boxes_agree(self, payload):
        return True

    def motions(self, payload, target):
        world = np.eye(4)
        world[:3, 3] = 10, -20, 30
        moved = Scan(payload.array, world @ payload.affine)
        return {"another origin": Motion(payload, target, moved, world, np.eye(4))}
