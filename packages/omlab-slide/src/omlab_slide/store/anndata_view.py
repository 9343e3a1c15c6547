"""A bag as AnnData: patches are observations, features are variables; single-cell and spatial tools open it."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from omlab.errors import MissingDependencyError
from omlab.payloads import Inputs, Payload
from omlab_slide.bag import Bag
from omlab_slide.store.h5_writing import bag_of

if TYPE_CHECKING:
    from anndata import AnnData  # type: ignore[import-untyped]


def as_anndata(bag: Bag) -> AnnData:
    """The bag in memory: `X` are the features, `obsm["spatial"]` the middles (x, y) of patches in pixels of level 0.

    `obs["share"]` is the share of tissue; `uns["spatial"]` says by the slide's name how large a patch is, as spatial
    tools look it up; `uns["omlab"]` what the features are.

    Raises `MissingDependencyError` where anndata is not installed.
    """
    try:
        from anndata import AnnData
    except ModuleNotFoundError as error:
        raise MissingDependencyError("AnnData needs anndata: install omlab-slide[anndata].") from error
    import pandas  # type: ignore[import-untyped]

    names = [f"{x}-{y}" for x, y in bag.coords.tolist()]
    name = str(bag.slide.get("name", "slide"))
    facts: dict[str, Any] = {
        "encoder": str(bag.encoder.get("name", "")),
        "size0": bag.size0,
        "dimensions": np.array(bag.dimensions),
    }
    if bag.mpp is not None:
        facts["mpp"] = bag.mpp
    return AnnData(
        X=np.asarray(bag.features[:], np.float32),
        obs=pandas.DataFrame({"share": bag.share.astype(np.float32)}, index=names),
        obsm={"spatial": bag.coords.astype(np.float64) + bag.size0 / 2},
        uns={"spatial": {name: {"scalefactors": {"spot_diameter_fullres": float(bag.size0)}}}, "omlab": facts},
    )


class AnnDataFile:
    """The format `anndata`: writes bags as `.h5ad`."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs = MappingProxyType({})) -> None:
        """Write a bag. Raises `OutputError` for another kind, `MissingDependencyError`."""
        as_anndata(bag_of(payload, path)).write_h5ad(path)
