import numpy as np

from omlab.errors import InputError, UsageError
from omlab.prompts import Object, Point, Prompts
from omlab.roles import Simulated
from omlab.weights import read_state_dict
from omlab_example.signals import Marks, world


class Pointed:
    """Marks what is as high as where the user points, to both sides of it."""

    def predict(self, payload, *, prompts=None):
        if payload.kind != "signal":
            raise InputError(f"A signal is needed, not a {payload.kind}.")
        if prompts is None:
            raise UsageError("Point at a crest.")
        prompts.require(["points"], model="example-pointed")
        array, image = payload.array, payload.name or prompts.image or "example"
        voxels = prompts.in_voxels(world(payload.affine), shape=(len(array), 1, 1), image=image)
        marks = np.zeros(len(array), np.uint8)
        for number, entry in enumerate(voxels.objects, start=1):
            for point in entry.points:
                at = round(point.at[0])
                near = np.abs(np.arange(len(array)) - at) <= 2
                marks[near & (array >= array[at] - 0.1)] = number * point.label
        return Marks(marks, payload.affine)

    def simulate(self, payload, reference, *, clicks, seed):
        draw = np.random.default_rng(seed)
        truth, points, rows = reference.array > 0, [], []
        for number in range(1, clicks + 1):
            wrong = truth if not points else truth != (prediction.array > 0)  # noqa: F821 - of the round before
            at = int(draw.choice(np.flatnonzero(wrong if wrong.any() else truth)))
            points.append(Point(at=(at, 0, 0), label=int(truth[at])))
            prompts = Prompts(space="voxel", image="example", objects=(Object(name="crest", points=tuple(points)),))
            prediction = self.predict(payload, prompts=prompts)
            found = prediction.array > 0
            dice = 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())
            rows.append({"object": "crest", "round": number, "dice": dice})
        return Simulated(prediction=prediction, prompts=prompts, rows=rows)


def load(card, *, weights, device, settings, config):
    if weights is not None:
        read_state_dict(weights)
    return Pointed()
