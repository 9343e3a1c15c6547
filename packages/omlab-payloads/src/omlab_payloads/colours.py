"""Colours of classes in pictures and in files that carry some.

The 24 colours were drawn one after the other: each is the one, of those bright enough to be seen on grey tissue and
coloured enough not to be taken for it, that lies farthest from all before it and above all from the last four. The
distance is that of Oklab (Ottosson 2020), the least of what people with full colour vision, with protanopia and with
deuteranopia see (Machado et al. 2009). So neighbours by label value, which are often neighbours in the body, differ
for all of them; `tests/test_colours.py` says by how much.
"""

from __future__ import annotations

Colour = tuple[int, int, int]

COLOURS: tuple[Colour, ...] = (
    (0, 165, 240), (135, 255, 0), (195, 0, 0), (135, 240, 255), (135, 15, 210), (210, 150, 105),
    (0, 120, 135), (255, 90, 225), (105, 255, 180), (30, 60, 255), (165, 135, 0), (195, 30, 105),
    (210, 180, 255), (180, 210, 105), (105, 105, 195), (0, 180, 165), (180, 105, 75), (90, 225, 210),
    (210, 165, 0), (180, 90, 255), (0, 150, 165), (255, 15, 105), (45, 210, 165), (135, 60, 165),
)  # fmt: skip


def default_colour(value: int) -> Colour:
    """A colour (R, G, B) for a label value from 1 on: always the same one, and unlike its neighbours'.

    Values 24 apart share one: where a picture shows that many classes, their names tell them apart.
    """
    return COLOURS[(value - 1) % len(COLOURS)]
