"""Code of a plugin whose model is pointed at rows of numbers."""

from omlab.errors import GeometryError, InputError
from omlab_prompts.prompts import Object, Point, Prompts
from omlab_prompts.simulation import ClickScores, Simulation

AFFINE = ((2, 0, 0, 10), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))


class Row:
    kind = "row"
    affine = AFFINE

    def __init__(self, values, name=None):
        self.values, self.name = [float(value) for value in values], name

    @property
    def shape(self):
        return (len(self.values), 1, 1)

    def same_grid(self, other):
        return self.shape == other.shape


class RowText:
    def read(self, path, *, kind):
        try:
            return Row(path.read_text().split(), name=path.name)
        except ValueError:
            raise InputError(f"{path} holds no numbers.") from None

    def write(self, payload, path, *, inputs):
        path.write_text("\n".join(map(str, payload.values)))


class Pointer:
    def predict(self, batch, /):
        return [self.pointed(inputs["image"], inputs["prompts"]) for inputs in batch]

    def pointed(self, image, prompts):
        voxels = prompts.in_voxels(AFFINE, shape=image.shape, image=prompts.image or image.name)
        marks = [0.0] * len(image.values)
        for number, entry in enumerate(voxels.objects, start=1):
            for point in entry.points:
                marks[round(point.at[0])] = float(number * point.label)
        return Row(marks)

    def simulate(self, batch, /, *, clicks, seed):
        return [self.clicked(inputs["image"], inputs["reference"], clicks, seed) for inputs in batch]

    def clicked(self, image, reference, clicks, seed):
        if not image.same_grid(reference):
            return GeometryError("The reference does not lie on the grid of the image.")
        places = [n for n, value in enumerate(reference.values) if value]
        if not places:
            raise InputError("The reference is empty.")
        at = [places[(seed + n) % len(places)] for n in range(clicks)]
        points = tuple(Point(at=(10.0 + 2 * n, 0, 0)) for n in at)
        prompts = Prompts(space="ras", objects=(Object(name="[part]", points=points),))
        rows = [{"object": "[part]", "round": n, "dice": n / clicks, "at": at[n - 1]} for n in range(1, clicks + 1)]
        return Simulation(prediction=self.pointed(image, prompts), prompts=prompts, scores=ClickScores(rows=rows))


def load(card, *, weights, needs, device, settings, config):
    return Pointer()
