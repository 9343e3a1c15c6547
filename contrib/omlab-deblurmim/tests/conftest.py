"""Pictures in memory: discs on noise, with their classes and masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omlab.payloads import Payload
from omlab.roles import About, Sample
from omlab_image import Image, LabelMap2D
from omlab_payloads.classes import Classes
from omlab_testkit.held import Held

SLOW = "unetpp_convmae_512.json"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The full U-Net++ at 512 px takes over ten seconds; smaller networks of its kind are tested always."""
    for item in items:
        if SLOW in item.name:
            item.add_marker(pytest.mark.slow)


def disc(number: int, *, rows: int = 40, columns: int = 48) -> tuple[Image, LabelMap2D, bool]:
    """A grey picture with a bright (even numbers) or dark disc, where that is, and whether it is bright."""
    random = np.random.default_rng(number)
    is_bright = number % 2 == 0
    y, x = np.mgrid[:rows, :columns]
    middle = (rows / 2 + random.integers(-5, 6), columns / 2 + random.integers(-8, 9))
    inside = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < (rows / 5) ** 2
    pixels = random.normal(90, 10, (rows, columns)) + (120 if is_bright else -70) * inside
    image = Image(array=pixels.clip(0, 255).astype(np.uint8), spacing=(0.2, 0.1))
    labels = LabelMap2D(array=(7 * inside).astype(np.uint8), names={7: "nodule"}, spacing=(0.2, 0.1))
    return image, labels, is_bright


@pytest.fixture
def discs() -> Callable[..., Held]:
    """Eight discs with `target` "classes", "labelmap-2d" or none."""

    def made(target: str = "") -> Held:
        samples = []
        for number in range(8):
            image, labels, is_bright = disc(number)
            echo = Classes(names=("bright", "dark"), probabilities=(float(is_bright), float(not is_bright)))
            targets: dict[str, Payload] = {"classes": echo, "labelmap-2d": labels}
            samples.append(Sample(id=str(number), inputs={"image": image}, target=targets.get(target)))
        names = {"classes": {0: "bright", 1: "dark"}, "labelmap-2d": {7: "nodule"}}
        about = About(inputs={"image": "image"}, target=target, classes=names.get(target, {}))
        return Held(samples=samples, says=about)

    return made


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
