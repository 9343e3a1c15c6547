"""Code of a plugin whose model uses the kinds that every modality shares."""

from omlab.errors import InputError
from omlab_payloads.boxes import Box, Boxes
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_payloads.scores import Scores


class Rater:
    def embed(self, batch, /):
        for inputs in batch:
            x = inputs["numbers"].values["x"]
            yield InputError("x is negative.") if x < 0 else Embedding(vector=[x, 2 * x], model="rater")

    def predict(self, batch, /):
        for inputs in batch:
            x = inputs["numbers"].values["x"]
            yield Classes(names=("low", "high"), probabilities=(1 - x / 100, x / 100))

    def score(self, batch, /):
        return [Scores(values={"sum": sum(inputs["vector"].vector.tolist())}, units={"sum": "mm"}) for inputs in batch]

    def detect(self, batch, /):
        return [Boxes(space="world", boxes=[Box(near=(0, 0, 0), far=(1, 1, 1), label="dot")]) for _ in batch]


def load(card, *, weights, needs, device, settings, config):
    return Rater()
