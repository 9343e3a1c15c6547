"""Few-shot sets by the rules of MedFMC, for a list of one's own or further draws than the five that are published.

The published lists were drawn without a seed: no seed gives them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from omlab.errors import UsageError
from omlab_medfmc.lists import Entry
from omlab_medfmc.sets import MedfmcSet

VALIDATION = 3000
"""Cases of a validation list at most."""


def support_set(entries: Sequence[Entry], one: MedfmcSet, *, shots: int, random: Random) -> list[list[Entry]]:
    """Entries for each class, in the order of the classes; one may be there for several.

    Images (ChestDR, Retino): `shots` of each class; a class that has no more is taken whole, without a draw.
    Studies (Endo): all images of the class from `shots` studies.
    Two classes (ColonPath, NeoJaundice): likewise, positive studies drawn first.

    Args:
        entries: A list with labels.
        one: The set that it is of.
        shots: Images or studies of each class.
        random: What draws; used up.

    Raises:
        UsageError: `shots` is below 1, or an entry has no labels.
    """
    if shots < 1:
        raise UsageError(f"A few-shot set has at least one shot, not {shots}.")
    bare = next((entry.name for entry in entries if entry.labels is None), None)
    if bare is not None:
        raise UsageError(f"'{bare}' has no labels: few-shot sets are drawn from labelled lists.")
    classes = range(len(one.classes))
    of_class = [[entry for entry in entries if place in entry.classes] for place in classes]
    if one.rule == "image":
        return [_images(found, shots=shots, random=random) for found in of_class]
    drawn: dict[int, list[Entry]] = {}
    for place in reversed(classes) if one.rule == "two-class" else classes:
        drawn[place] = _studies(of_class[place], one.study, shots=shots, random=random)
    return [drawn[place] for place in classes]


def _images(found: list[Entry], *, shots: int, random: Random) -> list[Entry]:
    if len(found) > shots:
        random.shuffle(found)
    return found[:shots]


def _studies(found: list[Entry], study: Callable[[str], str], *, shots: int, random: Random) -> list[Entry]:
    studies = list(dict.fromkeys(study(entry.name) for entry in found))
    random.shuffle(studies)
    chosen = set(studies[:shots])
    return [entry for entry in found if study(entry.name) in chosen]


def validation_set(entries: Sequence[Entry], support: Sequence[Sequence[Entry]], *, random: Random) -> list[Entry]:
    """Up to 3,000 entries besides a few-shot set, in the order that they were drawn in.

    Upstream compares names with entries here, so that its validation lists hold the training images; this does not.
    """
    taken = {entry.name for part in support for entry in part}
    rest = [entry for entry in entries if entry.name not in taken]
    chosen: dict[int, None] = {}
    while len(chosen) < min(VALIDATION, len(rest)):
        chosen[random.randint(0, len(rest) - 1)] = None
    return [rest[place] for place in chosen]
