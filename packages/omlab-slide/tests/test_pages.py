"""Pages of slides whose features are there."""

from __future__ import annotations

import html
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import omlab
from omlab.errors import UsageError
from omlab.jobs.run_cases import FileCase, run_cases
from omlab.records import CaseLog, Role
from omlab_slide.bag import Bag
from omlab_slide.encoding import SlideEncoder
from omlab_slide.heat import HeatMap
from omlab_slide.pages.jobs import report_slides
from omlab_slide.slide import open_slide
from omlab_slide.testing import draw_slide, write_annotation, write_pyramid
from omlab_testkit.parity import load_file

NEEDS = load_file(Path(__file__).with_name("examples.py")).needs
PLANT = (0.25, 0.5, 0.08)
SETTINGS = {"mpp": 4.0, "patch": 32, "overlap": 0, "least_share": 0.5, "tissue": "saturation"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of features, of which one slide failed, and one of heat maps."""
    folder = tmp_path_factory.mktemp("runs")
    cases = []
    for number, name in enumerate(("a", "b", "glass")):
        drawing = draw_slide((1024, 768), seed=number, plant=PLANT)
        if name == "glass":
            drawing = draw_slide((1024, 768), blobs=0)
        cases.append(FileCase(id=name, files={"slide": [write_pyramid(folder / f"{name}.tiff", drawing, mpp=2.0)]}))
    encoder = SlideEncoder(NEEDS("slide-features")["encoder"], settings=SETTINGS)

    def embed(case: FileCase, place: Path) -> Mapping[str, Any]:
        slide = open_slide(case.files["slide"][0])
        [bag] = encoder.embed([encoder.prepare("embed", {"slide": slide})])
        omlab.write(bag, place / f"{case.id}.bag.zarr")
        return {}

    def explain(case: FileCase, place: Path) -> Mapping[str, Any]:
        bag = omlab.read(folder / "features" / f"{case.id}.bag.zarr")
        assert isinstance(bag, Bag)
        heat = HeatMap(
            scores=-np.asarray(bag.features)[:, 0],
            coords=bag.coords,
            size0=bag.size0,
            dimensions=bag.dimensions,
            mpp=bag.mpp,
            name="darkness",
        )
        omlab.write(heat, place / f"{case.id}.geojson")
        return {}

    for name, do, chosen, role in (
        ("features", embed, cases, Role("main", "bag-zarr", "bag")),
        ("heat", explain, cases[:2], Role("main", "heat-geojson", "heat-map")),
    ):
        run_cases(
            chosen, do, output=folder / name, request={"command": name}, kind=name, role=lambda file, role=role: role
        )
    return folder


def test_each_slide_has_a_page_and_all_have_one(runs: Path, tmp_path: Path) -> None:
    outcome = report_slides(runs / "features", heat=runs / "heat", output=tmp_path / "pages")
    assert outcome.exit_status == 0
    page = (tmp_path / "pages" / "a.html").read_text()
    for title in ("Tissue and patches", "Heat map", "Highest scores", "Lowest scores", "What the features are"):
        assert title in page
    assert page.count("<img") >= 18
    cohort = (tmp_path / "pages" / "report.html").read_text()
    assert (tmp_path / "pages" / "b.html").is_file()
    assert "glass: " in cohort
    assert "shows no tissue" in cohort
    assert outcome.report is not None
    assert [row["id"] for row in outcome.report.details["slides"]] == ["a", "b"]


@pytest.mark.parametrize("tag", ["published", "untrained"])
def test_untrained_models_are_told_above_all_figures(runs: Path, tmp_path: Path, tag: str) -> None:
    def embed(case: FileCase, place: Path) -> Mapping[str, Any]:
        bag = omlab.read(case.files["bag"][0])
        assert isinstance(bag, Bag)
        encoder = {"name": f"dots.{tag}", "weights": {"tag": tag}}
        omlab.write(replace(bag, encoder=encoder), place / "a.bag.zarr")
        return {}

    def explain(case: FileCase, place: Path) -> Mapping[str, Any]:
        shutil.copy(case.files["heat"][0], place / "a.geojson")
        return {}

    model = {"name": f"sums.{tag}", "weights": {"tag": tag}}
    for name, do, source, role in (
        ("features", embed, {"bag": [runs / "features" / "a.bag.zarr"]}, Role("main", "bag-zarr", "bag")),
        ("heat", explain, {"heat": [runs / "heat" / "a.geojson"]}, Role("main", "heat-geojson", "heat-map")),
    ):
        case, request = FileCase(id="a", files=source), {"model": model} if name == "heat" else {}
        run_cases([case], do, output=tmp_path / name, request=request, kind=name, role=lambda file, role=role: role)
    report_slides(tmp_path / "features", heat=tmp_path / "heat", output=tmp_path / "pages")
    for page in ("a.html", "report.html"):
        said = html.unescape((tmp_path / "pages" / page).read_text())
        for untrained in ("dots.untrained", "sums.untrained"):
            assert (f"The weights of '{untrained}' are untrained" in said) == (tag == "untrained")


def test_the_highest_scores_are_judged_by_an_annotation(runs: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    write_annotation(drawn / "a.geojson", (1024, 768), PLANT)  # the heat of these slides is their darkness
    (drawn / "b.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    outcome = report_slides(runs / "features", heat=runs / "heat", annotations=drawn, output=tmp_path / "pages")
    assert outcome.report is not None
    rows = {row["id"]: row for row in outcome.report.details["slides"]}
    assert rows["a"]["annotated"] >= 2
    assert rows["a"]["dice"] >= 0.5
    assert rows["b"]["dice"] is None
    assert "Dice with the annotation" in (tmp_path / "pages" / "a.html").read_text()
    assert "Dice with the annotation" not in (tmp_path / "pages" / "b.html").read_text()
    assert "Annotated" in (tmp_path / "pages" / "report.html").read_text()
    [warned] = [text for record in CaseLog(outcome.place) for text in record.warnings]
    assert "b.geojson holds no region" in warned
    metric = next(one for one in outcome.report.metrics if one.name == "dice of top patches")
    assert (metric.value, metric.n) == (rows["a"]["dice"], 1)


def test_an_annotation_beside_the_slide_is_found(runs: Path, tmp_path: Path) -> None:
    path = write_annotation(runs / "b.tiff.geojson", (1024, 768), PLANT)
    try:
        outcome = report_slides(runs / "features", heat=runs / "heat", output=tmp_path / "pages")
    finally:
        path.unlink()
    assert outcome.report is not None
    assert [row["annotated"] is not None for row in outcome.report.details["slides"]] == [False, True]


def test_without_heat_and_slides_what_is_known_is_shown(runs: Path, tmp_path: Path) -> None:
    (runs / "b.tiff").rename(runs / "b.gone")
    try:
        report_slides(runs / "features", output=tmp_path / "pages")
    finally:
        (runs / "b.gone").rename(runs / "b.tiff")
    assert "Tissue and patches" in (tmp_path / "pages" / "a.html").read_text()
    page = (tmp_path / "pages" / "b.html").read_text()
    assert "Tissue and patches" not in page
    assert "What the features are" in page


def test_other_folders_are_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the folder of a run"):
        report_slides(tmp_path)
    with pytest.raises(UsageError, match="holds no bag"):
        report_slides(runs / "heat")
    with pytest.raises(UsageError, match="no folder of annotations"):
        report_slides(runs / "features", annotations=tmp_path / "none")
