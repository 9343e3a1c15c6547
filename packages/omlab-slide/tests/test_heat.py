"""Heat maps: ranks, rasters, pictures, cells, pyramids, the patches that stand out."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import percentileofscore, rankdata

import omlab
from omlab.errors import InputError
from omlab_slide.heat import HeatMap
from omlab_slide.heat.annotation import Agreement, agreement, annotated, read_annotation
from omlab_slide.heat.cells import raster
from omlab_slide.heat.colours import coloured
from omlab_slide.heat.patches import HeatPatches, top_and_bottom
from omlab_slide.heat.picture import blended, percentile_map, picture
from omlab_slide.heat.pyramid import HeatPyramid
from omlab_slide.heat.ranks import percentiles
from omlab_slide.heat.scale_bar import with_scale_bar
from omlab_slide.testing import PLANT, draw_slide, example_heat_maps, held
from omlab_slide.tissue.polygons import Polygon

Numbers = list[float]
numbers = st.lists(st.floats(-5, 5).map(lambda value: round(value, 1)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(numbers)
def test_percentiles_are_ranks_with_shared_ties(scores: Numbers) -> None:
    assert percentiles(scores) == pytest.approx(rankdata(scores, "average") / len(scores) * 100, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(numbers, numbers)
def test_percentiles_among_others(scores: Numbers, others: Numbers) -> None:
    wanted = [percentileofscore(others, score, kind="rank") for score in scores]
    assert percentiles(scores, among=others) == pytest.approx(wanted, abs=1e-9)


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(InputError, match="NaN"):
        percentiles([1.0, np.nan])
    with pytest.raises(InputError, match="NaN"):
        percentiles([1.0], among=[np.nan, 2.0])
    with pytest.raises(InputError, match="no scores"):
        percentiles([1.0], among=[])


def naive(scores: NDArray[Any], coords: NDArray[Any], size0: int, factor: float, canvas: tuple[int, int]) -> Any:
    """Patch by patch, as the formula says."""
    total, count = np.zeros(canvas[::-1]), np.zeros(canvas[::-1], int)
    side = int(np.ceil(size0 / factor))
    for score, (x, y) in zip(scores, np.ceil(coords / factor).astype(int), strict=True):
        total[y : y + side, x : x + side] += score
        count[y : y + side, x : x + side] += 1
    return total, count


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.floats(1, 9), st.integers(1, 60))
def test_a_raster_is_the_mean_of_the_patches_over_each_pixel(seed: int, count: int, factor: float, size0: int) -> None:
    draws = np.random.default_rng(seed)
    scores, coords = draws.normal(size=count), draws.integers(0, 100, (count, 2))
    total, wanted = naive(scores, coords, size0, factor, (30, 25))
    found = raster(scores, coords, size0=size0, downsample=factor, canvas=(30, 25))
    assert (found.count == wanted).all()
    assert np.isnan(found.mean[wanted == 0]).all()
    assert found.mean[wanted > 0] == pytest.approx(total[wanted > 0] / wanted[wanted > 0], abs=1e-9)


def test_a_raster_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="coordinates"):
        raster([1.0], [[0, 0], [1, 1]], size0=4, downsample=1, canvas=(9, 9))
    with pytest.raises(InputError, match="too large"):
        raster([1.0], [[0, 0]], size0=4, downsample=1, canvas=(100_000, 100_000))


def heat_of(scores: list[float], **more: Any) -> HeatMap:
    coords = np.array([(100 * n, 0) for n in range(len(scores))])
    return HeatMap(scores=np.array(scores), coords=coords, size0=100, dimensions=(100 * len(scores), 100), **more)


def test_the_highest_is_red_and_glass_stays_as_it_is() -> None:
    heat = HeatMap(
        scores=np.array([0.1, 0.9]), coords=np.array([[0, 0], [200, 0]]), size0=100, dimensions=(400, 100), mpp=0.5
    )
    below = np.full((100, 400, 3), 240, np.uint8)
    found = blended(heat, below, alpha=1.0)
    assert (found[50, 250] == coloured(100.0)).all()
    assert (found[50, 50] == coloured(50.0)).all()
    assert (found[50, 150] == 240).all()
    assert (found[50, 350] == 240).all()
    values = percentile_map(heat, (400, 100))
    assert np.isnan(values[:, 110:190]).all()
    assert not np.isnan(values[:, :90]).any()


def test_the_picture_shows_the_slide_and_its_scale() -> None:
    heat = example_heat_maps()[0]
    slide = held(draw_slide((1024, 768), seed=1))
    with_slide, without = (np.asarray(Image.open(BytesIO(heat.overlay(given)))) for given in ({"slide": slide}, {}))
    assert with_slide.shape == without.shape
    assert (with_slide != without).any()
    bar = with_slide[:768][-40:, :400]
    assert (bar == 0).all(axis=2).sum() > 100  # black: the bar and its label


@pytest.mark.parametrize(("width", "mpp", "wanted"), [(1000, 0.5, 200), (1024, 8.0, 250), (192, 0.25, 40)])
def test_a_scale_bar_has_a_round_length_that_fits(width: int, mpp: float, wanted: int) -> None:
    found = with_scale_bar(np.full((width, width, 3), 128, np.uint8), mpp)
    rows = (found == 0).all(axis=2).sum(axis=1)
    assert rows.max() == wanted + 1
    assert with_scale_bar(found, None) is found


def test_cells_are_squares_where_the_patches_are(tmp_path: Path) -> None:
    heat = heat_of([0.25, 1.0, 0.5], mpp=0.5, name="attention")
    omlab.write(heat, tmp_path / "a.geojson")
    cells = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert cells[1]["geometry"]["coordinates"] == [[[100, 0], [200, 0], [200, 100], [100, 100], [100, 0]]]
    assert [cell["properties"]["measurements"]["score"] for cell in cells] == [0.25, 1.0, 0.5]
    assert cells[1]["properties"]["measurements"]["percentile"] == 100
    again = omlab.read(tmp_path / "a.geojson", kind="heat-map")
    assert isinstance(again, HeatMap)
    assert again.name == "attention"
    assert again.mpp == 0.5


def test_other_geojson_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(InputError, match="no heat map of omlab"):
        omlab.read(path, kind="heat-map")
    omlab.write(heat_of([1.0, 2.0]), path)
    path.write_text(path.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(InputError, match="version 9"):
        omlab.read(path, kind="heat-map")


def square(x: int, y: int, side: int) -> list[list[int]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


REGIONS: dict[str, Any] = {
    "a collection": {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [square(40, 0, 200)]}}],
    },
    "parts with a hole": [
        {
            "type": "Feature",
            "geometry": {"type": "MultiPolygon", "coordinates": [[square(0, 0, 200), square(0, 0, 90)]]},
            "properties": {"objectType": "annotation"},
        },
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [square(200, 0, 100)]},
            "properties": {"objectType": "detection"},
        },
    ],
}


@pytest.mark.parametrize(("which", "inside"), [("a collection", [1, 1, 0, 0]), ("parts with a hole", [0, 1, 0, 0])])
def test_patches_are_annotated_that_lie_in_a_region_by_half(tmp_path: Path, which: str, inside: list[int]) -> None:
    (tmp_path / "a.geojson").write_text(json.dumps(REGIONS[which]))
    heat = heat_of([0.1, 0.9, 0.8, 0.2])
    regions = read_annotation(tmp_path / "a.geojson")
    assert annotated(heat, regions).tolist() == [bool(one) for one in inside]
    assert agreement(heat, regions) == Agreement(patches=sum(inside), dice=0.5 if sum(inside) == 2 else 1.0)
    assert picture(heat, regions=regions) != picture(heat)


def test_an_annotation_beside_all_patches_has_no_dice(tmp_path: Path) -> None:
    region = Polygon(np.array(square(0, 0, 20), np.int32))
    assert agreement(heat_of([1.0, 2.0]), [region]) == Agreement(patches=0, dice=None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '{"type": "FeatureCollection", "features": []}',
        '[{"geometry": {"type": "Polygon", "coordinates": [[[0, 0]]]}}]',
    ],
)
def test_what_is_no_annotation_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(InputError, match=r"a\.geojson (is no GeoJSON of regions|holds no region)"):
        read_annotation(tmp_path / "a.geojson")


def test_a_pyramid_opens_with_its_levels_and_scale(tmp_path: Path) -> None:
    slide = held(draw_slide((1500, 900)))
    heat = HeatMap(
        scores=np.array([0.0, 1.0]), coords=np.array([[0, 0], [700, 300]]), size0=256, dimensions=(1500, 900), mpp=0.5
    )
    HeatPyramid().write(heat, tmp_path / "a.tiff", inputs={"slide": slide})
    with openslide.OpenSlide(tmp_path / "a.tiff") as found:
        assert found.level_dimensions == ((1500, 900), (750, 450), (375, 225))
        assert float(found.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-3)


def test_the_patches_that_stand_out_are_shown(tmp_path: Path) -> None:
    slide = held(draw_slide((1024, 768), plant=(0.25, 0.5, 0.1)))
    corners = np.array([(x, y) for y in range(0, 640, 128) for x in range(0, 896, 128)], np.int32)
    darkness = [-float(slide.read((int(x), int(y)), 0, (128, 128)).mean()) for x, y in corners]
    heat = HeatMap(scores=np.array(darkness), coords=corners, size0=128, dimensions=(1024, 768), mpp=0.5)
    high, low = top_and_bottom(heat, slide, count=3)
    assert [one.score for one in high] == pytest.approx(sorted(darkness, reverse=True)[:3])
    assert [one.score for one in low] == pytest.approx(sorted(darkness)[:3])
    assert abs(high[0].pixels[:64].reshape(-1, 3).min(axis=0).astype(int) - PLANT).max() < 20
    HeatPatches().write(heat, tmp_path / "a.png", inputs={"slide": slide})
    with Image.open(tmp_path / "a.png") as found:
        assert found.size[0] > 8 * 192


def test_equal_scores_and_few_patches_are_each_shown_once() -> None:
    high, low = heat_of([1.0, 1.0, 1.0]).extremes(8)
    assert len(set(high) | set(low)) == len(high) + len(low) <= 3
    assert [len(part) for part in heat_of([1.0]).extremes(8)] == [1, 0]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="coordinates"):
        HeatMap(scores=np.zeros(3), coords=np.zeros((2, 2), np.int32), size0=4, dimensions=(9, 9))
    with pytest.raises(InputError, match="at least 1 pixel"):
        HeatMap(scores=np.zeros(1), coords=np.zeros((1, 2), np.int32), size0=0, dimensions=(9, 9))
    assert not heat_of([1.0]).same_frame(heat_of([1.0, 2.0]))
