import numpy as np

from omlab.errors import InputError
from omlab_example.signals import Marks, row
from omlab_prompts.prompts import Object, Point, Prompts
from omlab_prompts.simulation import ClickScores, Simulation


class Pointed:
    """Marks what is as high as where the user points, to both sides of it."""

    def predict(self, batch, /):
        return [self._marked(inputs["signal"], inputs["prompts"]) for inputs in batch]

    def _marked(self, signal, prompts):
        array = signal.array.ravel()
        voxels = prompts.in_voxels(signal.affine, shape=signal.shape, image=prompts.image or "example")
        marks = np.zeros(len(array), np.uint8)
        for number, entry in enumerate(voxels.objects, start=1):
            for point in entry.points:
                at = round(point.at[0])
                near = np.abs(np.arange(len(array)) - at) <= 2
                marks[near & (array >= array[at] - 0.1)] = number * point.label
        return Marks(row(marks, np.uint8), signal.step, signal.start)

    def simulate(self, batch, /, *, clicks=2, seed=0):
        return [self._simulated(inputs["signal"], inputs["reference"], clicks, seed) for inputs in batch]

    def _simulated(self, signal, reference, clicks, seed):
        if not reference.same_grid(signal):
            return InputError("The reference does not lie on the signal.")
        draw = np.random.default_rng(seed)
        truth, points, rows, found = reference.array.ravel() > 0, [], [], np.zeros(len(signal.array), bool)
        for number in range(1, clicks + 1):
            wrong = truth != found
            at = int(draw.choice(np.flatnonzero(wrong if wrong.any() else truth)))
            points.append(Point(at=(at, 0, 0), label=int(truth[at])))
            prompts = Prompts(space="voxel", image="example", objects=(Object(name="crest", points=tuple(points)),))
            prediction = self._marked(signal, prompts)
            found = prediction.array.ravel() > 0
            dice = 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())
            rows.append({"object": "crest", "round": number, "dice": dice})
        return Simulation(prediction=prediction, prompts=prompts, scores=ClickScores(rows=rows))


def load(card, *, weights, needs, device, settings, config):
    if weights is not None:
        weights.state_dict()
    return Pointed()
