from omlab_toy_scans.scan import example_scans

from omlab_payloads.classes import Classes
from omlab_testkit.example_data import example_data


def data(card, recipe):
    sides = [Classes(names=("left", "right"), probabilities=row) for row in ([1, 0], [0, 1], [0, 1])]
    return example_data([{"scan": scan} for scan in example_scans()], sides)
