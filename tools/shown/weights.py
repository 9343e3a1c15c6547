"""The readers of pages whose commands want published weights: of those the tests have none."""

from __future__ import annotations

from pathlib import Path

import omlab
from tools.shown.reader import Reader, written

SERVED = "published weights: core/tests/weights does it with files and a server of its own"
QUICK = " -s epochs=1 -s steps_per_epoch=1 -s windows=1 -s patch_size=32,32,32 -s augment=no"
COARSE = "mirror=no -s {}step=1 -s {}spacing=6,6,6"


def nothing(folder: Path) -> None:
    """No files."""


def a_data_set(folder: Path) -> None:
    """Phantoms in nnU-Net's layout and a scan."""
    omlab.load_dataset(
        "abdomen-phantom", root=folder / "phantom", settings={"train": 3, "val": 0, "test": 1, "scale": 0.3}
    ).prepare()
    home = folder / "Dataset501"
    for kind, part in (("train", "Tr"), ("test", "Ts")):
        for path in sorted((folder / "phantom" / "images").glob(f"{kind}-*.nii.gz")):
            case = path.name.removesuffix(".nii.gz")
            image = home / f"images{part}" / f"{case}_0000.nii.gz"
            labels = home / f"labels{part}" / path.name
            for place, source in ((image, path), (labels, folder / "phantom" / "labels" / path.name)):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(source.read_bytes())
    names = ("background", "liver", "spleen", "kidney_left", "kidney_right", "aorta", "spine")
    labelled = ", ".join(f'"{name}": {value}' for value, name in enumerate(names))
    written(
        home / "dataset.json",
        f'{{"channel_names": {{"0": "CT"}}, "labels": {{{labelled}}}, "numTraining": 3, "file_ending": ".nii.gz"}}',
    )
    (folder / "ct.nii.gz").write_bytes((home / "imagesTs" / "test-01_0000.nii.gz").read_bytes())


ADAPTED_MODELS = Reader(
    files=a_data_set,
    instead=[
        ("stunet-base.totalsegmentator", "stunet-tiny.untrained"),
        ("(adapt .*)", rf"\1{QUICK}"),
        ("(predict .*)", rf"\1 -s {COARSE.format('', '')}"),
        ("(evaluate .*)", rf"\1 -s model.{COARSE.format('model.', 'model.')}"),
    ],
)
INSTALL = Reader(
    files=nothing,
    left={
        "weights export": SERVED,
        "weights import": SERVED,
        "predict stunet-base.totalsegmentator": "published weights: docs/index.md shows the like with small ones",
    },
)
WEIGHTS = Reader(
    files=nothing,
    left={
        **dict.fromkeys(
            (
                "weights fetch",
                "weights path",
                "weights remove",
                "weights check-links",
                "weights export",
                "weights import",
                "weights convert",
            ),
            SERVED,
        ),
        "predict sammed3d": "published weights; its end is left out on the page",
    },
)
