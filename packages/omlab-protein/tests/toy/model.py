import numpy as np

from omlab_protein.substitutions import all_single, parse
from omlab_protein.variants import VariantScores


def load(card, *, weights, needs, device, settings, config):
    return Charges()


class Charges:
    """1 for each K or R that is put in, -1 for every other change."""

    def score(self, batch, /):
        for inputs in batch:
            variants = inputs.get("mutants")
            mutants = list(variants.mutants) if variants else list(all_single(inputs["sequence"].letters))
            scores = [sum(1.0 if one.new in "KR" else -1.0 for one in parse(mutant)) for mutant in mutants]
            yield VariantScores(mutants=mutants, scores=np.array(scores, float))
