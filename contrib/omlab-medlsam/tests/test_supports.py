"""Supports: what is wrong with one is said in one sentence, and one scan is in memory at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import omlab
from omlab.errors import GeometryError, InputError
from omlab_medlsam.network import MedLam, MedLamConfig, untrained
from omlab_medlsam.reference import reference_of
from omlab_medlsam.supports import LoadedScan, Support
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import LabelMap, Volume

NETWORK: MedLam = untrained(MedLamConfig(base_channels=1, patch=(32, 32, 32)))


def _scan(number: int, **labels: object) -> LoadedScan:
    image, labelmap = example_volumes()[number], example_labelmaps()[number]
    changed = {"array": labelmap.array, "affine": labelmap.affine, "labels": labelmap.labels, **labels}
    return LoadedScan(name=f"scan {number}", image=image, labels=LabelMap(**changed))  # type: ignore[arg-type]


def _write(folder: Path) -> None:
    for n in range(2):
        omlab.write(example_volumes()[n], folder / f"ct{n}.nii.gz")
        omlab.write(example_labelmaps()[n], folder / f"seg{n}.nii.gz")


def test_a_table_is_read_lazily(tmp_path: Path) -> None:
    _write(tmp_path)
    table = tmp_path / "supports.csv"
    table.write_text("volume,labelmap\nct0.nii.gz,seg0.nii.gz\nct1.nii.gz,seg1.nii.gz\n")
    support = omlab.read(table, kind="support")
    assert isinstance(support, Support)
    assert [scan.name for scan in support.scans] == ["ct0.nii.gz (seg0.nii.gz)", "ct1.nii.gz (seg1.nii.gz)"]
    reference = reference_of(NETWORK, support, slice_interval=0)
    assert [(s.value, s.name, len(s.positions)) for s in reference.structures] == [(1, "organ", 6), (2, "bone", 6)]
    before = support.stamp()
    omlab.write(example_volumes()[1], tmp_path / "ct0.nii.gz")
    assert support.stamp() != before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("volume,labelmap\n", "lists no support scan"),
        ("image,labels\nct0.nii.gz,seg0.nii.gz\n", "its columns are image, labels, not volume,labelmap"),
        ("volume,labelmap\nct0.nii.gz\n", "line 2: a row has a volume and a labelmap"),
        ("volume,labelmap\nct0.nii.gz,none.nii.gz\n", r"line 2: the labelmap .*none\.nii\.gz does not exist"),
        ("", "its columns are none"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, text: str, said: str) -> None:
    _write(tmp_path)
    table = tmp_path / "supports.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=said) as error:
        omlab.read(table, kind="support")
    assert "supports.csv" in str(error.value)


def test_scans_that_do_not_agree_are_refused() -> None:
    bone_only = np.where(example_labelmaps()[1].array == 2, 2, 0).astype(np.uint8)
    with pytest.raises(InputError, match=r"'organ' \(label 1\) is in the support scan scan 0 but not in scan 1"):
        reference_of(NETWORK, Support(scans=(_scan(0), _scan(1, array=bone_only))), slice_interval=0)
    with pytest.raises(InputError, match="scan 1 are empty"):
        reference_of(NETWORK, Support(scans=(_scan(0), _scan(1, array=0 * bone_only))), slice_interval=0)
    elsewhere = _scan(0, affine=example_labelmaps()[0].affine + np.eye(4)[3] * 9)
    with pytest.raises(GeometryError, match="support scan scan 0 are not on its grid"):
        reference_of(NETWORK, Support(scans=(elsewhere,)), slice_interval=0)


def test_one_scan_is_in_memory_at_a_time() -> None:
    held: list[str] = []

    class Watched(LoadedScan):
        def volume(self) -> Volume:
            held.append(self.name)
            return super().volume()

        def labelmap(self) -> LabelMap:
            held.append(f"labels of {self.name}")
            return super().labelmap()

    scans = tuple(Watched(name=f"{n}", image=_scan(n).image, labels=_scan(n).labels) for n in (0, 1))
    reference_of(NETWORK, Support(scans=scans), slice_interval=0)
    assert held == ["labels of 0", "labels of 1", "0", "1"]
