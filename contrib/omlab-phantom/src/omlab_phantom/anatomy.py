"""A random abdomen: body, organs and what lies between them, in mm and HU.

Sizes and places are those of adults, spread at random and tied to the cavity, so that organs stay where a reader
expects them. Later parts cover earlier ones. The kinds of tissue have the HU of a contrast-enhanced CT.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omlab_phantom.labels import AORTA, KIDNEY_LEFT, KIDNEY_RIGHT, LIVER, SPINE, SPLEEN
from omlab_phantom.shapes import Array, Ellipsoid, Mask, Part, Power, Tube, Waves, Where, turned

_GAS = -950.0
_LEFT, _RIGHT = -1, 1  # the sign of x in RAS+


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One abdomen. `half_width` and `half_depth` (mm) are those of the body; `warp` bends all of it by `bend` mm."""

    half_width: float
    half_depth: float
    parts: tuple[Part, ...]
    warp: tuple[Waves, Waves, Waves]
    bend: float


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """What the parts are placed in: the body, and the cavity inside fat and muscle, by their half axes."""

    rng: np.random.Generator
    width: float
    depth: float
    fat: float
    spine_y: float

    @property
    def a(self) -> float:
        return self.width - self.fat - 14

    @property
    def b(self) -> float:
        return self.depth - 0.8 * self.fat - 12

    def near(self, value: float, *, share: float = 0.07) -> float:
        """`value`, spread by a share of itself."""
        return float(value * self.rng.uniform(1 - share, 1 + share))

    def about(self, value: float, *, spread: float) -> float:
        """`value` plus or minus up to `spread`."""
        return float(value + self.rng.uniform(-spread, spread))

    @property
    def cavity(self) -> Tube:
        return Tube(centre=(0, 0), radii=(self.a, self.b), power="2.5")

    @property
    def under_the_skin(self) -> Tube:
        inset = 2.5 + 0.3 * self.fat
        return Tube(centre=(0, 0), radii=(self.width - inset, self.depth - inset), power="2.5")

    def organ(
        self,
        centre: tuple[float, float, float],
        axes: tuple[float, float, float],
        *,
        turn: tuple[float, float, float] = (0, 0, 0),
        power: Power = "2",
    ) -> Ellipsoid:
        """An ellipsoid at random about the given place, size and turn (degrees), with a wavy surface."""
        return Ellipsoid(
            centre=(self.about(centre[0], spread=6), self.about(centre[1], spread=5), self.about(centre[2], spread=9)),
            axes=(self.near(axes[0]), self.near(axes[1]), self.near(axes[2], share=0.1)),
            turn=turned(self.rng, degrees=9, mean=turn),
            power=power,
            bumps=Waves.draw(self.rng, shortest=45, longest=120),
            bump_height=0.05,
        )


def draw(rng: np.random.Generator) -> Anatomy:
    """A random abdomen; the same for the same state of `rng`."""
    width = float(rng.uniform(140, 178))
    depth = float(width * rng.uniform(0.64, 0.74))
    fat = float(rng.uniform(8, 22))
    frame = _Frame(rng=rng, width=width, depth=depth, fat=fat, spine_y=-0.56 * (depth - 0.8 * fat - 12))
    parts = (
        *_walls(frame),
        *_chest(frame),
        *_bowel(frame),
        *_liver(frame),
        *_spleen(frame),
        *_kidneys(frame),
        *_vessels(frame),
        *_spine(frame),
    )
    warp = tuple(Waves.draw(rng, shortest=150, longest=350) for _ in range(3))
    bend = float(rng.uniform(3, 7))
    return Anatomy(half_width=width, half_depth=depth, parts=parts, warp=(warp[0], warp[1], warp[2]), bend=bend)


def _walls(f: _Frame) -> Iterator[Part]:
    """Table, skin, fat, the muscle shell, the fat of the cavity, psoas and back muscles."""
    rng = f.rng
    height = f.about(55, spread=15)
    table = Tube(centre=(0, height), radii=(260, f.depth + height + 11))
    inner = Tube(centre=(0, height), radii=(254, f.depth + height + 6))

    def below(x: Array, y: Array, z: Array) -> Mask:
        return np.asarray((y < -f.depth - 4) & (np.abs(x) < 0.9 * f.width))

    yield Part(shape=Where(shape=table, side=below), hu=float(rng.uniform(-300, -100)), without=(inner,))
    yield Part(shape=Tube(centre=(0, 0), radii=(f.width, f.depth), power="2.5"), hu=f.about(-10, spread=20))
    yield Part(shape=Tube(centre=(0, 0), radii=(f.width - 2.5, f.depth - 2.5), power="2.5"), hu=f.about(-102, spread=8))
    muscle = f.about(55, spread=8)
    yield Part(shape=Tube(centre=(0, 0), radii=(f.a + 11, f.b + 9), power="2.5"), hu=muscle)
    yield Part(shape=f.cavity, hu=f.about(-88, spread=14))
    for side in (_LEFT, _RIGHT):
        back = Tube(centre=(side * 0.27 * f.a, f.spine_y - 34), radii=(0.24 * f.a, 21), power="2.5")
        psoas = Tube(centre=(side * f.near(0.27 * f.a), f.spine_y + 2), radii=(f.near(17), f.near(18)), high=5)
        yield Part(shape=back, hu=muscle, within=f.under_the_skin)
        yield Part(shape=psoas, hu=muscle)


def _chest(f: _Frame) -> Iterator[Part]:
    """The lungs above the domes of the diaphragm, the mediastinum, the ribs."""
    lung = f.about(-830, spread=40)
    for side in (_LEFT, _RIGHT):
        top = f.about(84 if side == _LEFT else 94, spread=8)

        def above(x: Array, y: Array, z: Array, *, side: int = side, top: float = top) -> Mask:
            dome = top - 0.011 * ((x - side * 0.48 * f.a) ** 2 + (y - 0.1 * f.b) ** 2)
            return np.asarray((z > dome) & (side * x > 0.2 * f.a))

        yield Part(shape=Where(shape=f.cavity, side=above), hu=lung)
    heart = Ellipsoid(centre=(f.about(-18, spread=8), 0.3 * f.b, 125), axes=(55, 45, 45))
    yield Part(shape=heart, hu=f.about(120, spread=30), within=f.cavity)
    outer = Tube(centre=(0, 0), radii=(f.a + 7, f.b + 6), power="2.5", low=-45)
    phase = float(f.rng.uniform(0, 2 * np.pi))

    def bars(x: Array, y: Array, z: Array) -> Mask:
        return np.asarray(np.cos(2 * np.pi * (z - 0.35 * y) / 30 + phase) > 0.5)

    yield Part(shape=Where(shape=outer, side=bars), hu=f.about(320, spread=60), without=(f.cavity,))


def _bowel(f: _Frame) -> Iterator[Part]:
    """What can be taken for an organ: stomach with an air-fluid level, colon, loops with gas, fluid or contrast."""
    rng = f.rng
    stomach = f.organ((-0.42 * f.a, 0.42 * f.b, 42), (0.33 * f.a, 0.42 * f.b, 45), turn=(0, 25, 0))
    level = stomach.centre[1] + float(rng.uniform(-5, 18))

    def bubble(x: Array, y: Array, z: Array) -> Mask:
        return np.asarray(y > level)

    yield Part(shape=stomach, hu=f.about(40, spread=10), within=f.cavity)
    yield Part(shape=_shrunk(stomach, by=5), hu=f.about(18, spread=12), within=f.cavity)
    yield Part(shape=Where(shape=_shrunk(stomach, by=5), side=bubble), hu=_GAS, within=f.cavity)
    for side in (_LEFT, _RIGHT):
        centre = (side * f.near(0.76 * f.a, share=0.04), f.about(-0.1 * f.b, spread=8))
        radius, top = f.near(19, share=0.15), f.about(-18, spread=10)
        swing = (f.about(5, spread=4), f.about(6, spread=4))
        for thickness, hu in ((0.0, 40.0), (3.0, float(rng.choice([_GAS, -40.0, 20.0, 60.0])))):
            radii = (radius - thickness, radius - thickness)
            colon = Tube(centre=centre, radii=radii, swing=swing, period=130, phase=float(side), high=top - thickness)
            yield Part(shape=colon, hu=hu, within=f.cavity)
    pancreas = f.organ((-0.12 * f.a, 0.02 * f.b, 18), (0.42 * f.a, 11, 13), turn=(0, -15, -8))
    yield Part(shape=pancreas, hu=f.about(92, spread=12), within=f.cavity)
    for _ in range(int(rng.integers(16, 26))):
        place = (rng.uniform(-0.6, 0.6) * f.a, rng.uniform(-0.05, 0.75) * f.b, rng.uniform(-130, 5))
        loop = f.organ(
            (float(place[0]), float(place[1]), float(place[2])), (22, 16, 16), turn=(0, 0, rng.uniform(0, 180))
        )
        inside = float(rng.choice([_GAS, 15.0, 30.0, 220.0], p=[0.3, 0.35, 0.25, 0.1]))
        yield Part(shape=loop, hu=f.about(45, spread=15), within=f.cavity)
        yield Part(shape=_shrunk(loop, by=3), hu=inside, within=f.cavity)


def _liver(f: _Frame) -> Iterator[Part]:
    hu = f.about(102, spread=16)
    liver = f.organ((0.44 * f.a, 0.12 * f.b, 34), (0.66 * f.a, 0.78 * f.b, 62), turn=(0, -8, 0), power="2.5")
    cx, _, cz = liver.centre
    slope, low = float(f.rng.uniform(0.45, 0.7)), f.about(-48, spread=6)
    wavy = Waves.draw(f.rng, shortest=50, longest=140)

    def above_the_edge(x: Array, y: Array, z: Array) -> Mask:
        return np.asarray(z - cz > low + slope * (cx - x) + 9 * wavy(x, y, z))

    whole = Where(shape=liver, side=above_the_edge)
    yield Part(shape=whole, hu=hu, label=LIVER, within=f.cavity)
    for _ in range(int(f.rng.integers(0, 4))):  # cysts and metastases belong to the liver
        offset = f.rng.uniform(-0.5, 0.5, size=3) * liver.axes
        x, y, z = (float(c + o) for c, o in zip(liver.centre, offset, strict=True))
        lesion = Ellipsoid(centre=(x, y, z), axes=(f.near(9, share=0.4),) * 3, bumps=liver.bumps, bump_height=0.1)
        inside_liver = Where(shape=lesion, side=whole.inside)
        yield Part(shape=inside_liver, hu=float(f.rng.uniform(5, 60)), label=LIVER, within=f.cavity)
    gallbladder = f.organ((0.38 * f.a, 0.45 * f.b, -14), (14, 17, 26), turn=(20, 0, 0))
    yield Part(shape=gallbladder, hu=f.about(8, spread=6), within=f.cavity)


def _spleen(f: _Frame) -> Iterator[Part]:
    spleen = f.organ((-0.76 * f.a, -0.36 * f.b, 50), (0.23 * f.a, 0.5 * f.b, 47), turn=(15, 0, 20))
    dent = Ellipsoid(centre=(-0.48 * f.a, -0.12 * f.b, spleen.centre[2] - 6), axes=(0.24 * f.a, 0.42 * f.b, 52))
    yield Part(shape=spleen, hu=f.about(122, spread=16), label=SPLEEN, within=f.cavity, without=(dent,))


def _kidneys(f: _Frame) -> Iterator[Part]:
    """Cortex and medulla; the sinus at the hilum is fat and no part of the label."""
    cortex = f.about(175, spread=28)
    for side, label, height in ((_LEFT, KIDNEY_LEFT, -2.0), (_RIGHT, KIDNEY_RIGHT, -16.0)):
        kidney = f.organ((side * 0.5 * f.a, -0.46 * f.b, height), (27, 25, 52), turn=(12, -side * 10, side * 30))
        x, y, z = kidney.centre
        sinus = Ellipsoid(centre=(x - side * 21, y + 10, z), axes=(17, 11, 19))
        yield Part(shape=kidney, hu=cortex, label=label, within=f.cavity, without=(sinus,))
        medulla = _shrunk(kidney, by=8)
        yield Part(shape=medulla, hu=cortex - 30, label=label, within=f.cavity, without=(sinus,))
        yield Part(shape=sinus, hu=-60.0, within=f.cavity)


def _vessels(f: _Frame) -> Iterator[Part]:
    """Aorta, and the vena cava beside it, which is no target."""
    radius = f.near(10.5, share=0.18)
    swing = (f.about(3, spread=2), f.about(3, spread=2))
    phase, front = float(f.rng.uniform(0, 2 * np.pi)), f.spine_y + 21
    aorta = Tube(
        centre=(f.about(-10, spread=4), front + radius), radii=(radius, radius), swing=swing, period=320, phase=phase
    )
    cava = Tube(
        centre=(f.about(19, spread=3), front + 10), radii=(f.near(13), f.near(9)), swing=swing, period=280, phase=phase
    )
    blood = f.about(165, spread=32)
    yield Part(shape=cava, hu=blood - f.about(40, spread=20))
    yield Part(shape=aorta, hu=blood, label=AORTA)


def _spine(f: _Frame) -> Iterator[Part]:
    """Vertebrae and discs, the arch behind them; the canal is no part of the label."""
    radii = (f.near(21), f.near(16.5))
    line = {"swing": (f.about(0, spread=4), f.about(4, spread=3)), "phase": float(f.rng.uniform(0, 2 * np.pi))}
    bodies = Tube(centre=(0, f.spine_y), radii=radii, power="2.5", **line)  # type: ignore[arg-type]
    core = Tube(centre=(0, f.spine_y), radii=(radii[0] - 3, radii[1] - 3), power="2.5", **line)  # type: ignore[arg-type]
    arch = Tube(centre=(0, f.spine_y - 24), radii=(16, 13), **line)  # type: ignore[arg-type]
    thorn = Tube(centre=(0, f.spine_y - 40), radii=(4.5, 13), **line)  # type: ignore[arg-type]
    canal = Tube(centre=(0, f.spine_y - 23), radii=(9, 7.5), **line)  # type: ignore[arg-type]
    pitch, phase = f.near(34), float(f.rng.uniform(0, 34))

    def disc(x: Array, y: Array, z: Array) -> Mask:
        return np.asarray((z + phase) % pitch < 8)

    def bony(x: Array, y: Array, z: Array) -> Mask:
        return np.asarray((z + phase) % pitch >= 12)

    compact, spongy = f.about(430, spread=60), f.about(210, spread=50)
    yield Part(shape=Where(shape=thorn, side=bony), hu=compact, label=SPINE, within=f.under_the_skin)
    yield Part(shape=arch, hu=compact, label=SPINE)
    yield Part(shape=canal, hu=30.0)
    yield Part(shape=bodies, hu=compact, label=SPINE, without=(canal,))
    yield Part(shape=core, hu=spongy, label=SPINE, without=(canal,))
    yield Part(shape=Where(shape=bodies, side=disc), hu=f.about(85, spread=15), label=SPINE, without=(canal,))


def _shrunk(shape: Ellipsoid, *, by: float) -> Ellipsoid:
    """The same ellipsoid with half axes shorter by `by` mm."""
    x, y, z = (max(axis - by, 1.0) for axis in shape.axes)
    return Ellipsoid(
        centre=shape.centre,
        axes=(x, y, z),
        turn=shape.turn,
        power=shape.power,
        bumps=shape.bumps,
        bump_height=shape.bump_height,
    )
