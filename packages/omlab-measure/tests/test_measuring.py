"""Figures agree with pyradiomics 3.0.1 (recorded), with SimpleITK, and with what is counted one by one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  # as its manual calls it
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import pdist

from omlab.errors import GeometryError, InputError, OmlabWarning, SettingsError
from omlab_measure.diameters import border_ends, in_slices, longest
from omlab_measure.intensity import first_order
from omlab_measure.measuring import measure
from omlab_measure.regions import inner_voxels, outer_count, regions
from omlab_volume.volume import LabelMap, Volume

GOLDEN = json.loads((Path(__file__).parent / "golden" / "pyradiomics.json").read_text())["cases"]
NAMES = {
    "MeshVolume": "mesh_volume_ml", "VoxelVolume": "volume_ml", "SurfaceArea": "surface_area_mm2",
    "SurfaceVolumeRatio": "surface_to_volume_per_mm", "Sphericity": "sphericity", "Maximum3DDiameter": "diameter_3d_mm",
    "Maximum2DDiameterSlice": "long_axis_mm", "MajorAxisLength": "major_axis_mm", "MinorAxisLength": "minor_axis_mm",
    "LeastAxisLength": "least_axis_mm", "Elongation": "elongation", "Flatness": "flatness", "Mean": "mean",
    "Median": "median", "10Percentile": "p10", "90Percentile": "p90", "Minimum": "minimum", "Maximum": "maximum",
    "InterquartileRange": "interquartile_range", "MeanAbsoluteDeviation": "mean_absolute_deviation",
    "RootMeanSquared": "root_mean_square", "Skewness": "skewness", "Kurtosis": "kurtosis", "Entropy": "entropy",
    "Uniformity": "uniformity",
}  # fmt: skip


def centred(shape, spacing):
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def structure(name, spacing):
    """The structures that the recorded figures are of."""
    if name == "ellipsoid":
        x, y, z = centred((40, 36, 20), spacing)
        return (x / 13) ** 2 + (y / 9) ** 2 + (z / 20) ** 2 < 1
    if name == "ball":
        x, y, z = centred((30, 30, 30), spacing)
        return x**2 + y**2 + z**2 < 10.2**2
    if name == "oblique rod":
        x, y, z = centred((40, 40, 16), spacing)
        u, v = x * 0.8 + y * 0.6, y * 0.8 - x * 0.6
        return (u / 15) ** 2 + (v / 4) ** 2 + (z / 14) ** 2 < 1
    mask = np.zeros((12, 10, 8) if name == "box" else (5, 5, 5), bool)
    mask[(slice(2, 9), slice(3, 8), slice(1, 6)) if name == "box" else (2, 2, 2)] = True
    return mask


def intensities(shape):
    i, j, k = np.indices(shape)
    return (np.rint(300 * np.sin(i / 5) * np.cos(j / 7) + 11 * k) - 40).astype(np.int16)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_figures_are_those_of_pyradiomics(case, order):
    mask = structure(case["name"], case["spacing"])
    affine = np.diag([*case["spacing"], 1.0])
    labelmap = LabelMap(array=np.array(mask, np.uint8, order=order), affine=affine)
    image = Volume(array=np.array(intensities(mask.shape), order=order)[None], affine=affine)
    (found,) = measure(labelmap, image).structures
    constant = case["name"] == "one voxel"
    for theirs, ours in NAMES.items():
        expected = case["features"][theirs]
        if expected is None or (constant and ours in ("skewness", "kurtosis")):
            assert found.figures[ours] is None, ours  # pyradiomics says 0 of what is not defined
            continue
        scale = 1000 if ours.endswith("_ml") else 1
        np.testing.assert_allclose(found.figures[ours] * scale, expected, rtol=1e-9, atol=1e-15, err_msg=ours)
    assert np.isclose(found.figures["sd"] ** 2, case["features"]["Variance"])


def test_figures_are_those_of_simpleitk(draw):
    labelmap, image = draw()
    mask, values = (sitk.GetImageFromArray(array.T) for array in (labelmap.array, image.array[0]))
    for one in (mask, values):
        one.SetSpacing(labelmap.grid.spacing)
        one.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])  # LPS+
        one.SetOrigin([30, 25, 10])
    shape, intensity = sitk.LabelShapeStatisticsImageFilter(), sitk.LabelIntensityStatisticsImageFilter()
    shape.Execute(mask)
    intensity.Execute(mask, values)
    for entry in measure(labelmap, image).structures:
        figures = entry.figures
        assert np.isclose(figures["volume_ml"] * 1000, shape.GetPhysicalSize(entry.value))
        right, back, up = shape.GetCentroid(entry.value)
        centroid = [figures[f"centroid_{axis}_mm"] for axis in "ras"]
        np.testing.assert_allclose(centroid, [-right, -back, up], atol=1e-6)
        extents = [figures[f"extent_{axis}_mm"] for axis in ("rl", "ap", "is")]
        sizes = np.array(shape.GetBoundingBox(entry.value)[3:]) * labelmap.grid.spacing
        np.testing.assert_allclose(extents, sizes)
        for name, theirs in (
            ("mean", "Mean"),
            ("minimum", "Minimum"),
            ("maximum", "Maximum"),
            ("skewness", "Skewness"),
        ):
            np.testing.assert_allclose(
                figures[name], getattr(intensity, f"Get{theirs}")(entry.value), rtol=2e-3, err_msg=name
            )


@pytest.mark.parametrize("seed", range(6))
def test_diameters_are_the_longest_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    mask = gaussian_filter(rng.standard_normal(rng.integers(5, 15, 3)), 1.5) > 0.02
    mask.flat[0] = True
    affine = np.eye(4)
    affine[:3, :3] = rng.normal(size=(3, 3)) + np.diag([2, 2, 3])
    affine[:3, 3] = rng.normal(size=3) * 50
    (region,) = regions(mask.astype(np.uint8))
    padded = np.pad(mask, 1).astype(int)
    border = []
    for axis in range(3):
        places = np.argwhere(np.diff(padded, axis=axis)).astype(float)
        places[:, axis] += 0.5
        border.append(places - 1)
    everywhere = np.concatenate(border) @ affine[:3, :3].T
    ends = border_ends(region)
    assert np.isclose(longest(ends, affine=affine).length, pdist(everywhere).max())
    flat = np.concatenate(border[:2])
    slices = [flat[flat[:, 2] == k] @ affine[:3, :3].T for k in np.unique(flat[:, 2])]
    long, short = in_slices(ends, affine=affine, normal=2)
    assert np.isclose(long.length, max(pdist(points).max() for points in slices))
    assert 0 < short.length <= long.length + 1e-9
    assert abs((long.end - long.start) @ (short.end - short.start)) < 1e-6 * long.length * short.length
    voxel = np.linalg.inv(affine)[2, :3] @ (short.start - affine[:3, 3])
    assert np.isclose(voxel, np.linalg.inv(affine)[2, :3] @ (long.start - affine[:3, 3]))  # the same slice


def test_bounds_of_the_volume_are_the_voxels_of_the_border():
    array = np.zeros((6, 6, 6), np.uint8)
    array[1:5, 1:5, 1:5] = 1
    (region,) = regions(array)
    assert inner_voxels(region.mask).sum() == 8
    assert outer_count(region.mask) == 6 * 16
    (found,) = measure(LabelMap(array=array, affine=np.diag([10.0, 10, 10, 1]))).structures
    assert found.figures["volume_ml"] == pytest.approx(64)
    assert found.figures["volume_low_ml"] == pytest.approx(64 - 56 / 2)
    assert found.figures["volume_high_ml"] == pytest.approx(64 + 96 / 2)
    assert not found.touches_edge


def test_bounds_hold_for_what_was_draw(draw):
    """The bounds of balls that voxels half full or more make up hold their true volumes."""
    for radius in (3.3, 5.1, 7.4):
        fine = np.stack(np.meshgrid(*[(np.arange(90) - 44.5) / 5] * 3, indexing="ij"))
        share = ((fine**2).sum(axis=0) < radius**2).reshape(18, 5, 18, 5, 18, 5).mean(axis=(1, 3, 5))
        (found,) = measure(LabelMap(array=(share >= 0.5).astype(np.uint8), affine=np.eye(4))).structures
        true = 4 / 3 * np.pi * radius**3 / 1000
        assert found.figures["volume_low_ml"] <= true <= found.figures["volume_high_ml"]
        assert 2 * radius == pytest.approx(found.figures["diameter_3d_mm"], abs=1.8)


def test_figures_do_not_depend_on_the_order_of_axes(draw):
    labelmap, image = draw()
    turned = np.zeros((4, 4))
    turned[3, 3] = 1
    turned[0, 1], turned[1, 2], turned[2, 0] = 1, -1, -1
    turned[1, 3], turned[2, 3] = 25, 13
    array = labelmap.array.transpose(2, 0, 1)[::-1, :, ::-1]
    values = image.array[0].transpose(2, 0, 1)[::-1, :, ::-1]
    other = LabelMap(array=array, affine=labelmap.affine @ turned, labels=labelmap.labels)
    first = measure(labelmap, image)
    second = measure(other, Volume(array=values[None], affine=labelmap.affine @ turned, intensity="hu"))
    for one, same in zip(first.structures, second.structures, strict=True):
        assert one.name == same.name
        for name, value in one.figures.items():
            np.testing.assert_allclose(same.figures[name], value, rtol=1e-6, atol=1e-9, err_msg=name)


def test_the_inner_mean_is_of_voxels_without_the_border(draw):
    labelmap, image = draw()
    liver = labelmap.array == 1
    (first, _) = measure(labelmap, image).structures
    assert first.figures["mean_inner"] == pytest.approx(image.array[0][inner_voxels(liver)].mean(dtype=float))
    assert first.figures["mean"] == pytest.approx(image.array[0][liver].mean(dtype=float))


def test_what_touches_the_edge_is_said(draw):
    labelmap, _ = draw()
    assert [entry.touches_edge for entry in measure(labelmap).structures] == [False, True]
    array = np.zeros((3, 3, 3), np.uint8)
    array[0, 1, 1] = 1
    assert measure(LabelMap(array=array, affine=np.eye(4))).structures[0].touches_edge


def test_values_that_are_not_finite_are_left_out(draw):
    labelmap, image = draw()
    array = image.array.copy()
    array[0][labelmap.array == 3] = np.nan
    with pytest.warns(OmlabWarning, match="no finite intensity"):
        _, spleen = measure(labelmap, image.with_array(array)).structures
    assert spleen.figures["mean"] is None
    assert spleen.figures["volume_ml"] > 0


@pytest.mark.parametrize("width", [0.01, 3.0, 1000.0])
def test_bins_are_counted_from_a_multiple_of_their_width(width):
    values = np.random.default_rng(0).normal(size=500) * 20
    _, counts = np.unique(np.floor(values / width), return_counts=True)
    shares = counts / 500
    assert first_order(values, bin_width=width)["entropy"] == pytest.approx(-(shares * np.log2(shares)).sum())


def test_what_cannot_be_measured_is_said(draw):
    labelmap, image = draw()
    with pytest.raises(InputError, match="has no label in any voxel"):
        measure(replace(labelmap, array=np.zeros_like(labelmap.array)))
    with pytest.raises(GeometryError, match=r"\(30 x 26 x 14 voxels\) does not lie on the grid of the image"):
        measure(labelmap, replace(image, affine=labelmap.affine + np.eye(4)[:, [3, 0, 1, 2]]))
    with pytest.raises(SettingsError, match="has 1 channels: there is none 2"):
        measure(labelmap, image, channel=2)
    with pytest.raises(SettingsError, match="bin width"):
        measure(labelmap, image, bin_width=0)
