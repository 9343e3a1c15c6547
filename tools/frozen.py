"""Adapted models that every later version must load: `uv run python -m tools.frozen`, a step of releasing core.

For each release of omlab-core, whose form the folder of an adapted model is, `tools/tests/frozen/VERSION` keeps small
ones, each with an input and the answer that it had then. Bases without published weights are drawn from a seed: that
they are drawn alike is held too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tools import workspace

if TYPE_CHECKING:
    from omlab.payloads import Payload

OWNER = "omlab-core"
FOLDER = workspace.ROOT / "tools" / "tests" / "frozen"
KEPT = ("adapted.json", "weights.safetensors")
INPUT, EXPECTED = "input", "expected"


@dataclass(frozen=True, kw_only=True)
class Example:
    """How one is made: the arguments of `omlab adapt`, a case to answer, and the suffix of the answer's file."""

    base: str
    data: str
    adapter: str
    case: str
    suffix: str
    settings: Mapping[str, Any] = field(default_factory=dict)


PICTURES = {
    "base": "medfmc-vit-tiny.untrained",
    "data": "imagefolder:pictures",
    "case": "pictures/test/below/0.png",
    "suffix": ".json",
}
EXAMPLES = {
    "stunet-tiny-lora": Example(
        base="stunet-tiny.untrained",
        data="abdomen-phantom",
        adapter="lora",
        case="omlab-data/abdomen-phantom/images/test-01.nii.gz",
        suffix=".nii.gz",
        settings={
            "data.scale": 0.3,
            "data.train": 2,
            "data.test": 1,
            "data.val": 0,
            "rank": 1,
            "epochs": 2,
            "steps_per_epoch": 40,
            "windows": 1,
            "learning_rate": 0.02,
        },
    ),
    "vit-tiny-finetune": Example(adapter="finetune", settings={"learning_rate": 0.005, "model.size": 32}, **PICTURES),
    "vit-tiny-probe": Example(adapter="linear-probe", settings={"model.size": 32}, **PICTURES),
}


def missing(package: str, version: str) -> Iterator[str]:
    """That a release of core has no frozen models yet."""
    if package == OWNER and not all((FOLDER / version / name).is_dir() for name in EXAMPLES):
        yield f"{OWNER} {version} has no frozen adapted models: python -m tools.frozen makes them."


def freeze(example: Example, folder: Path) -> None:
    """Make the adapted model in `folder`, with the case as `input` and its answer as `expected`."""
    import omlab

    with TemporaryDirectory() as temporary, chdir(temporary):
        draw_pictures(Path("pictures"))
        omlab.adapt(
            example.base,
            example.data,
            adapter=example.adapter,
            settings=example.settings,
            output="made",
            device="cpu",
        )
        frozen = Path("frozen")
        frozen.mkdir()
        for name in KEPT:
            shutil.copy(Path("made") / name, frozen)
        given = frozen / f"{INPUT}{''.join(Path(example.case).suffixes)}"
        shutil.copy(example.case, given)
        omlab.write(answer(Path("made"), given), frozen / f"{EXPECTED}{example.suffix}")
        shutil.copytree(frozen, folder)


def answer(model: Path, given: Path) -> Payload:
    """What an adapted model predicts for its input."""
    import omlab

    session = omlab.load_model(model, device="cpu")
    ((name, kind),) = session.verb("predict").kinds.items()
    return session.predict(**{name: omlab.read(given, kind=kind)})


def draw_pictures(folder: Path) -> None:
    """Pictures that are bright above or below, as a folder of classes with the splits `train` and `test`."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 1)):
        for number, name in enumerate(("above", "below")):
            place = folder / split / name
            place.mkdir(parents=True)
            for each in range(count):
                array = random.integers(0, 90, (32, 32, 3), dtype=np.uint8)
                array[16 * number : 16 * (number + 1)] += 120
                Image.fromarray(array).save(place / f"{each}.png")


def main() -> None:
    """Freeze the models of the version of core that is here; those that are there stay as they are."""
    version = next(package.version for package in workspace.packages() if package.name == OWNER)
    for name, example in EXAMPLES.items():
        folder = FOLDER / version / name
        if not folder.exists():
            freeze(example, folder)
            print(folder.relative_to(workspace.ROOT))


if __name__ == "__main__":
    main()
