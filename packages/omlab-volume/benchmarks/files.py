"""Files read and written: ours against nibabel, SimpleITK and highdicom.

    python benchmarks/files.py [--what nifti-read nifti-write] [--slices 112] [--rounds 2]

The voxels are the head CT of ../shared/data (28 slices of 512 x 512), repeated to `--slices`, and a label map made of
it by thresholds. Each way runs in processes of its own, alternating, on one thread; `cpu_s` is the least processor
time. Ratios are to the best other way. `bytes` is what was written.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import record

SERIES = Path("/work/shared/data/ct-head-dicom")
SPACING = (0.45, 0.45, 5.0)
WAYS = {
    "nifti-read": ["SimpleITK", "nibabel", "omlab"],
    "nifti-write": ["SimpleITK", "nibabel", "omlab"],
    "nifti-write-labels": ["SimpleITK", "nibabel", "omlab"],
    "dicom-read": ["SimpleITK", "omlab"],
    "dicom-seg-write": ["highdicom", "omlab"],
    "dicom-labelmap-seg-write": ["highdicom", "omlab"],
}  # fmt: skip


def voxels(slices: int, *, labels: bool) -> np.ndarray[Any, Any]:
    """(I, J, K) in the file's order."""
    planes = [pydicom.dcmread(path).pixel_array for path in sorted(SERIES.glob("*.dcm"))]
    array = np.resize(np.array(planes, np.int16), (slices, *planes[0].shape))
    if labels:
        array = ((array > 0).astype(np.uint8) + (array > 300) + 2 * (array > 1000)).astype(np.uint8)
    return array.transpose(2, 1, 0)


def nifti_read(way: str, path: Path, array: np.ndarray[Any, Any]) -> Callable[[], Any]:
    if not path.exists():
        nib.save(nib.Nifti1Image(array, np.diag([*SPACING, 1])), path)
    if way == "SimpleITK":
        import SimpleITK as sitk  # noqa: N813

        return lambda: sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    if way == "nibabel":
        return lambda: np.asarray(nib.load(path).dataobj)
    from omlab_volume.io.nifti import Nifti

    return lambda: Nifti().read(path, kind="volume").array


def nifti_write(way: str, path: Path, array: np.ndarray[Any, Any]) -> Callable[[], Any]:
    affine = np.diag([*SPACING, 1.0])
    if way == "SimpleITK":
        import SimpleITK as sitk  # noqa: N813

        image = sitk.GetImageFromArray(array.T)
        return lambda: sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)
    if way == "nibabel":
        return lambda: nib.save(nib.Nifti1Image(array, affine), path)
    from omlab_volume.io.nifti import Nifti
    from omlab_volume.volume import LabelMap, Volume

    labels = array.dtype == np.uint8
    payload = LabelMap(array=array, affine=affine) if labels else Volume(array=array[None], affine=affine)
    return lambda: Nifti().write(payload, path)


def make_series(folder: Path, slices: int) -> Path:
    """The head CT's files at even positions along their normal, which is what every reader takes as they are."""
    series = folder / "series"
    if series.exists():
        return series
    series.mkdir()
    paths = sorted(SERIES.glob("*.dcm"))
    first = pydicom.dcmread(paths[0])
    axes = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    origin, normal = np.array(first.ImagePositionPatient, float), np.cross(*axes)
    for k in range(slices):
        one = pydicom.dcmread(paths[k % len(paths)])
        one.ImagePositionPatient = [f"{n:.6f}" for n in origin + 2.5 * k * normal]
        one.ImageOrientationPatient, one.SeriesInstanceUID = first.ImageOrientationPatient, first.SeriesInstanceUID
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{first.SeriesInstanceUID}.{k}"[-64:]
        one.save_as(series / f"{k:03}.dcm")
    return series


def dicom_read(way: str, series: Path) -> Callable[[], Any]:
    if way == "SimpleITK":
        import SimpleITK as sitk  # noqa: N813

        sitk.ProcessObject.SetGlobalWarningDisplay(False)

        def read() -> Any:
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
            return sitk.GetArrayFromImage(reader.Execute())

        return read
    from omlab_volume.io.dicom import Dicom

    return lambda: Dicom().read(series, kind="volume").array


def balls(shape: tuple[int, ...], count: int) -> np.ndarray[Any, Any]:
    """A label map of `count` balls, some over others."""
    draw = np.random.default_rng(0)
    labels = np.zeros(shape, np.uint8)
    along = np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij", sparse=True)
    for number in range(1, count + 1):
        centre = draw.uniform(0.15, 0.85, 3)
        labels[sum((x - c) ** 2 for x, c in zip(along, centre, strict=True)) < 0.12**2] = number
    return labels


def seg_write(what: str, way: str, series: Path, path: Path) -> Callable[[], Any]:
    import highdicom as hd
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless

    from omlab_volume.io import dicom_seg
    from omlab_volume.io.dicom import Dicom
    from omlab_volume.volume import Label, LabelMap

    scan = Dicom().read(series, kind="volume")
    labels = [Label(value=n, name=f"organ {n}", colour=(n, 100, 200)) for n in range(1, 21)]
    array = balls(scan.grid.shape, len(labels))
    as_labelmap = "labelmap" in what
    if way == "omlab":
        payload = LabelMap(array=array, affine=scan.affine, labels=labels, source=scan.source)
        writer = dicom_seg.DicomLabelmapSeg() if as_labelmap else dicom_seg.DicomSeg()
        return lambda: writer.write(payload, path)

    def write() -> None:
        images = [pydicom.dcmread(one, stop_before_pixels=True) for one in scan.source.paths]
        for image in images:
            for keyword in dicom_seg._MAY_BE_EMPTY:
                image.setdefault(keyword, "")
        hd.seg.Segmentation(
            images, np.ascontiguousarray(array.T), "LABELMAP" if as_labelmap else "BINARY",
            [dicom_seg._description(n, label) for n, label in enumerate(labels, start=1)],
            hd.UID(), 1, hd.UID(), 1, "maker", "model", "1", "0",
            transfer_syntax_uid=RLELossless if as_labelmap else ExplicitVRLittleEndian,
        ).save_as(path)  # fmt: skip

    return write


def prepared(what: str, way: str, folder: Path, slices: int) -> tuple[Callable[[], Any], Path]:
    """What is timed, and the file that it reads or writes."""
    if what == "dicom-read":
        return dicom_read(way, make_series(folder, slices)), folder / "series" / "000.dcm"
    if what.startswith("dicom"):
        path = folder / f"{way}.dcm"
        return seg_write(what, way, make_series(folder, slices), path), path
    array = voxels(slices, labels="labels" in what)
    path = folder / ("read.nii.gz" if "read" in what else f"{way}.nii.gz")
    return (nifti_read if "read" in what else nifti_write)(way, path, array), path


def measure(arguments: dict[str, Any]) -> None:
    what, way = arguments["what"], arguments["way"]
    warnings.simplefilter("ignore")
    do, path = prepared(what, way, Path(arguments["folder"]), arguments["slices"])
    base, seconds, cpu = record.memory_mib(), [], []
    for _ in range(arguments["repeats"]):
        if "write" in what:
            path.unlink(missing_ok=True)
        began, used = time.perf_counter(), time.process_time()
        do()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    found = {"seconds": seconds, "cpu": cpu, "peak": record.memory_mib(), "base": base}
    print(json.dumps({**found, "bytes": path.stat().st_size}))


def compare(what: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    ways = WAYS[what]
    with tempfile.TemporaryDirectory() as folder:
        arguments = {"what": what, "folder": folder, "slices": options.slices, "repeats": 2}
        found = record.alternate(__file__, ways, arguments, rounds=options.rounds, threads=1)
    others = [way for way in ways if not way.startswith("omlab")]
    best = min(others, key=lambda way: min(found[way]["cpu"]))
    size = f"512x512x{options.slices}"
    return [
        {"benchmark": what, "way": way, "size": size, **row, "bytes": found[way]["bytes"]}
        for way, row in record.compared(found, against=best).items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--what", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--slices", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if options.child:
        measure(json.loads(options.child))
        return
    for what in options.what:
        record.append(compare(what, options), threads=1)


if __name__ == "__main__":
    sys.exit(main())
