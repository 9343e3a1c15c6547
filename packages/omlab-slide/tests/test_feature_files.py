"""The feature files of others: CLAM's and TRIDENT's h5, CLAM's pt, AnnData."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import omlab
from omlab.errors import InputError, OmlabWarning, OutputError
from omlab_slide.bag import Bag, ComputedFeatures
from omlab_slide.store.h5_writing import ClamH5, TridentH5, magnification
from omlab_slide.store.torch_file import ClamPt
from omlab_slide.testing import example_bags


@pytest.fixture
def bag() -> Bag:
    return replace(
        example_bags()[0], size=64, target_mpp=1.0, encoder={"name": "toy"}, slide={"name": "case.svs"}, overlap=2
    )


def read(path: Path) -> Bag:
    found = omlab.read(path, kind="bag")
    assert isinstance(found, Bag)
    return found


def patches_file(path: Path, coords: Any, **attributes: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("coords", data=np.asarray(coords, np.int64)).attrs.update(attributes)


def test_clam_files_are_of_its_form_and_read_again(tmp_path: Path, bag: Bag) -> None:
    path = tmp_path / "FEATURES" / "h5_files" / "case.h5"
    path.parent.mkdir(parents=True)
    ClamH5().write(bag, path)
    with h5py.File(path) as file:
        assert file["features"].dtype == np.float32
        assert file["features"].chunks == (32, 8)
        assert file["coords"].dtype == np.int32
        assert file["coords"].chunks == (32, 2)
        assert not file["coords"].attrs
    patches_file(
        tmp_path / "patches" / "case.h5",
        bag.coords,
        patch_size=64,
        patch_level=1,
        downsample=(2.0, 2.0),
        level_dim=(512, 384),
        name="case",
    )
    again = read(path)
    assert (np.asarray(again.features) == bag.features).all()
    assert (again.coords == bag.coords).all()
    assert (again.size0, again.size, again.dimensions, again.mpp) == (128, 64, (1024, 768), None)
    assert (again.features[np.array([5, 1])] == bag.features[[5, 1]]).all()


def test_without_clams_patches_their_size_is_taken_from_their_distance(tmp_path: Path, bag: Bag) -> None:
    ClamH5().write(bag, tmp_path / "case.h5")
    with pytest.warns(OmlabWarning, match="128 pixels, the least distance"):
        again = read(tmp_path / "case.h5")
    assert again.size0 == 128
    one = replace(bag, features=bag.features[:1], coords=bag.coords[:1], share=bag.share[:1])
    ClamH5().write(one, tmp_path / "one.h5")
    with pytest.raises(InputError, match="does not say how large its patch is"):
        read(tmp_path / "one.h5")


def test_trident_files_are_of_its_form_and_read_again(tmp_path: Path, bag: Bag) -> None:
    path = tmp_path / "case.h5"
    TridentH5().write(bag, path)
    with h5py.File(path) as file:
        assert dict(file["coords"].attrs) == {
            "patch_size": 64,
            "patch_size_level0": 128,
            "level0_magnification": 20,
            "target_magnification": 10,
            "overlap": 2,
            "name": "case",
            "savetodir": "",
            "level0_width": 1024,
            "level0_height": 768,
        }
        assert file["features"].attrs["encoder"] == "toy"
        assert file["coords"].dtype == np.int64
    with pytest.warns(OmlabWarning, match="nominal"):
        again = read(path)
    for name in ("size0", "size", "overlap", "dimensions", "mpp", "target_mpp"):
        assert getattr(again, name) == getattr(bag, name), name
    assert again.encoder == {"name": "toy"}
    assert (np.asarray(again.features) == bag.features).all()
    with pytest.raises(OutputError, match="no scale"):
        TridentH5().write(replace(bag, mpp=None), tmp_path / "b.h5")


@pytest.mark.parametrize(("mpp", "power"), [(0.1, 80), (0.23, 40), (0.27, 40), (0.5, 20), (1.0, 10), (2.0, 5), (8, 1)])
def test_magnifications_are_tridents(mpp: float, power: int) -> None:
    assert magnification(mpp) == power


def test_computed_features_are_written_as_they_come(tmp_path: Path, bag: Bag) -> None:
    def compute(first: int) -> Any:
        yield from (bag.features[at : at + 5] for at in range(5 * first, len(bag), 5))

    lazy = replace(bag, features=ComputedFeatures(shape=bag.features.shape, rows=5, compute=compute))
    TridentH5().write(lazy, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert (file["features"][...] == bag.features).all()


def test_pt_files_have_their_positions_beside(tmp_path: Path, bag: Bag) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "pt_files" / "case.pt"
    path.parent.mkdir()
    ClamPt().write(bag, path)
    with pytest.raises(InputError, match="without positions"):
        read(path)
    (tmp_path / "h5_files").mkdir()
    TridentH5().write(bag, tmp_path / "h5_files" / "case.h5")
    with pytest.warns(OmlabWarning, match="nominal"):
        assert (read(path).coords == bag.coords).all()
    ClamPt().write(replace(bag, features=bag.features[:, :4]), path)
    with pytest.warns(OmlabWarning, match="nominal"), pytest.raises(InputError, match="must be as many"):
        read(path)
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match=r"case\.pt"):
        read(path)


def test_what_cannot_be_used_is_refused(tmp_path: Path, bag: Bag) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["coords"] = bag.coords
    with pytest.raises(InputError, match="no 'features': it has coords"):
        read(path)
    with h5py.File(path, "w") as file:
        file["coords"], file["features"] = bag.coords, bag.features[:-1]
    with pytest.raises(InputError, match="one row for each"):
        read(path)
    broken = bag.features.copy()
    broken[3, 2] = np.nan
    TridentH5().write(replace(bag, features=broken), path)
    with pytest.warns(OmlabWarning, match="nominal"):
        again = read(path)
    with pytest.raises(InputError, match="NaN"):
        again.features[:]
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match="cut short"):
        read(path)


def test_a_bag_as_anndata(tmp_path: Path, bag: Bag) -> None:
    anndata = pytest.importorskip("anndata")
    omlab.write(bag, tmp_path / "a.h5ad")
    found = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert (bag.features == found.X).all()
    assert (found.obsm["spatial"] == bag.coords + 64).all()
    assert found.obs["share"].to_numpy() == pytest.approx(bag.share.astype(np.float32))
    assert found.uns["omlab"]["encoder"] == "toy"
    assert found.uns["spatial"]["case.svs"]["scalefactors"]["spot_diameter_fullres"] == 128
