"""The readers of the pages on measuring, prompts, confidence, Volume Fusion: a drawn scan with a liver and a spleen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

import omlab
from omlab_testkit.parity import load_file
from omlab_volume.volume import Label, LabelMap, Volume
from tools.shown.reader import Reader, written
from tools.workspace import ROOT

SHAPE = (48, 40, 32)
AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
LIVER, SPLEEN = (14, 20, 15), (34, 22, 17)
LABELS = (Label(value=1, name="liver"), Label(value=2, name="spleen"))
QUICK = "-s epochs=1 -s steps_per_epoch=1 -s patch_size=32,32,32"
SPLITS = ("train", "train", "val", "val", "val", "test")
STUNET = (r"stunet-base", "stunet-tiny.untrained")
FAST = (r"(predict (stunet|mine|sure|pretrained).*)", r"\1 -s mirror=no -s step=1")


def drawn(shift: int = 0) -> tuple[Volume, LabelMap]:
    """Two ellipsoids in HU, and which voxels are theirs; `shift` moves them."""
    places = np.indices(SHAPE).astype(float)
    array = np.zeros(SHAPE, np.uint8)
    for label, middle, radii in ((1, LIVER, (10, 8, 9)), (2, SPLEEN, (6, 6, 7))):
        far = sum(((p - m - shift) / r) ** 2 for p, m, r in zip(places, middle, radii, strict=True))
        array[far < 1] = label
    noise = np.random.default_rng(shift).normal(0, 15, SHAPE)
    values = (np.choose(array, (-40, 110, 60)) + noise).astype(np.float32)
    return Volume(array=values[None], affine=AFFINE, intensity="hu"), LabelMap(
        array=array, affine=AFFINE, labels=LABELS
    )


def scan(folder: Path, *, shift: int = 0, image: str = "ct", labels: str = "rough") -> None:
    """Write a scan and its label map."""
    volume, labelmap = drawn(shift)
    for name in (image, labels):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    omlab.write(volume, folder / f"{image}.nii.gz")
    omlab.write(labelmap, folder / f"{labels}.nii.gz")


def nnunet(folder: Path) -> None:
    """Scans in nnU-Net's layout, of which some are held out for validation, and one for a test."""
    for number, split in enumerate(SPLITS):
        part = "Ts" if split == "test" else "Tr"
        scan(folder, shift=number % 3, image=f"images{part}/s{number}_0000", labels=f"labels{part}/s{number}")
    names = {"background": 0, **{label.name: label.value for label in LABELS}}
    facts = {"channel_names": {"0": "CT"}, "labels": names, "numTraining": 5, "file_ending": ".nii.gz"}
    written(folder / "dataset.json", json.dumps(facts))
    sides = {side: [f"s{number}" for number, split in enumerate(SPLITS) if split == side] for side in ("train", "val")}
    written(folder / "splits_final.json", json.dumps([sides]))


def to_measure(folder: Path) -> None:
    """Label maps with their images, a table, a DICOM series with a segmentation of it."""
    scan(folder, labels="seg")
    for number, name in enumerate("ab"):
        scan(folder, shift=number, image=f"images/{name}", labels=f"segs/{name}")
    written(folder / "list.csv", "id,labelmap,volume", *(f"{n},segs/{n}.nii.gz,images/{n}.nii.gz" for n in "ab"))
    load_file(ROOT / "packages" / "omlab-measure" / "tests" / "test_dicom_sr.py").write_series(folder / "series")
    series = omlab.read(folder / "series", kind="volume")
    assert isinstance(series, Volume)
    array = np.zeros(series.grid.shape, np.uint8)
    array[2:6, 3:8, 1:4] = 1
    found = LabelMap(array=array, affine=series.affine, labels=LABELS[:1])
    omlab.write(found, folder / "seg.dcm", inputs={"volume": series})


def to_point_at(folder: Path) -> None:
    """A scan, a slice of it, and clicks into both."""
    scan(folder)
    (folder / "scans").mkdir()
    for name in "ab":
        shutil.copy(folder / "ct.nii.gz", folder / "scans" / f"{name}.nii.gz")
    shutil.copy(folder / "rough.nii.gz", folder / "found.nii.gz")
    clicks = {"space": "voxel", "image": "ct.nii.gz", "objects": [{"name": "liver", "points": [{"at": LIVER}]}]}
    written(folder / "clicks.json", json.dumps({"version": 1, **clicks}))
    place = {"id": "1", "label": "F-1", "position": [2.0 * LIVER[0], 2.0 * LIVER[1], 2.5 * LIVER[2]]}
    markups = [{"type": "Fiducial", "coordinateSystem": "RAS", "controlPoints": [place]}]
    written(folder / "F.mrk.json", json.dumps({"markups": markups}))
    volume, _ = drawn()
    slice_ = np.clip(volume.array[0, :, :, LIVER[2]].T + 100, 0, 255).astype(np.uint8)
    Image.fromarray(slice_).save(folder / "slice.png")
    pixels = {"space": "pixel", "image": "slice.png", "objects": [{"name": "liver", "points": [{"at": LIVER[:2]}]}]}
    written(folder / "pixels.json", json.dumps({"version": 1, **pixels}))
    head = "id,volume,prompts,reference:labelmap,found:labelmap"
    written(folder / "list.csv", head, "a,ct.nii.gz,clicks.json,rough.nii.gz,found.nii.gz")


def found_volume(folder: Path) -> None:
    """What a model that has learned something would have found in the scan."""
    shutil.copy(folder / "rough.nii.gz", folder / "seg.nii.gz")


def found_pixels(folder: Path) -> None:
    """What one would have found in the slice."""
    Image.fromarray((drawn()[1].array[:, :, LIVER[2]] == 1).T.astype(np.uint8)).save(folder / "mask.png")


def to_be_sure_of(folder: Path) -> None:
    """A model that has learned a little, its data set, and a scan."""
    nnunet(folder / "Dataset017_Abdomen")
    scan(folder)
    data = f"nnunet:{folder / 'Dataset017_Abdomen'}"
    settings = {"epochs": 2, "steps_per_epoch": 15, "windows": 1, "patch_size": [32, 32, 32], "learning_rate": 0.05}
    omlab.adapt("stunet-tiny.untrained", data, recipe="segmentation", output=folder / "mine", settings=settings)


def to_pretrain(folder: Path) -> None:
    """Scans without labels in a table, a few with labels, and one to predict."""
    nnunet(folder / "Dataset001")
    scan(folder)
    rows = [f"s{n},Dataset001/imagesTr/s{n}_0000.nii.gz" for n in range(3)]
    written(folder / "unlabelled.csv", "id,volume", *rows)


MEASURE = Reader(files=to_measure)

PROMPTS = Reader(
    files=to_point_at,
    instead=[
        STUNET,
        FAST,
        (r"sammed3d\.turbo|(?<=simulate )MODEL", "sammed3d-tiny.untrained"),
        (r"sammed2d(?= )", "sammed2d-tiny.untrained"),
    ],
    between={"prompt-from seg.nii.gz": found_volume, "prompt-from mask.png": found_pixels},
)

OF_PICTURES = "a model of pictures that has learned: packages/omlab-adapters/tests/test_calibrate.py"

CONFIDENCE = Reader(
    files=to_be_sure_of,
    instead=[FAST],
    left={"adapt nodules/": OF_PICTURES, "predict sure-nodules/": OF_PICTURES},
)

VOLUME_FUSION = Reader(
    files=to_pretrain,
    instead=[(r"misfm-fmunet\.untrained", "misfm-fmunet-tiny.untrained"), ("(adapt .*)", rf"\1 {QUICK}"), FAST],
)
