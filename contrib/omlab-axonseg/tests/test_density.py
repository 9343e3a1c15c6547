"""Tables by region: axons, how they are spread, and somata in every form that they come in."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import omlab
from omlab.errors import InputError, OmlabWarning
from omlab_axonseg.command import axonseg
from omlab_axonseg.density import densities
from omlab_axonseg.histogram import histogram
from omlab_axonseg.somata import Somata, centres, read_somata, soma_densities, values_at
from omlab_payloads.points import Point, Points
from omlab_volume.volume import Label, LabelMap

AFFINE = np.array([[-0.5, 0, 0, 3], [0, 0.5, 0, -1], [0, 0, 2.0, 7], [0, 0, 0, 1]])
NAMES = (Label(value=1, name="cortex"), Label(value=2, name="stem"))


def line_and_regions() -> tuple[LabelMap, LabelMap]:
    axons, regions = np.zeros((20, 8, 8), np.uint8), np.ones((20, 8, 8), np.uint8)
    axons[2:18, 4, 4] = 1
    regions[10:] = 2
    regions[:, 0] = 0
    return LabelMap(array=axons, affine=AFFINE), LabelMap(array=regions, affine=AFFINE, labels=NAMES)


def world(voxels: list[tuple[float, float, float]]) -> np.ndarray:
    return np.array(voxels, float) @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


SOMATA = [(1.0, 2.0, 3.0), (9.4, 7.0, 7.0), (9.6, 7.0, 7.0), (15.0, 4.0, 0.2)]


def test_somata_are_counted_by_region_in_world_and_voxel_space() -> None:
    _, regions = line_and_regions()
    for somata in (Somata(at=np.array(SOMATA), space="voxel"), Somata(at=world(SOMATA), space="world")):
        rows = soma_densities(somata, regions)
        assert [(row.region, row.somata) for row in rows] == [("cortex", 2), ("stem", 2)]
        assert rows[0].volume_mm3 == pytest.approx(0.5 * 10 * 7 * 8)
        assert rows[0].soma_density_per_mm3 == pytest.approx(2 / 280)


def test_somata_outside_of_every_region_are_said() -> None:
    _, regions = line_and_regions()
    somata = Somata(at=np.array([(1.0, 2, 3), (-0.6, 2, 3), (1, 0, 3), (1, 2, 7.5)]), space="voxel")
    assert values_at(somata, regions).tolist() == [1, 0, 0, 0]
    with pytest.warns(OmlabWarning, match="3 of 4 somata lie in no region"):
        assert sum(row.somata for row in soma_densities(somata, regions)) == 1


def test_connected_parts_of_any_grid_are_somata() -> None:
    _, regions = line_and_regions()
    fine = np.zeros((80, 32, 32), np.uint8)
    fine[4:7, 8:11, 12:15] = 1
    fine[7, 11, 15] = 1  # touches at a corner: one part
    fine[60:63, 16:19, 4:7] = 5
    affine = AFFINE @ np.diag([0.25, 0.25, 0.25, 1])
    found = centres(LabelMap(array=fine, affine=affine))
    assert len(found.at) == 2
    assert [row.somata for row in soma_densities(found, regions)] == [1, 1]
    assert not len(centres(LabelMap(array=np.zeros_like(fine), affine=affine)).at)


def test_somata_come_as_tables_and_points(tmp_path: Path) -> None:
    tabs = "name\tK\tI\tJ\n" + "".join(f"a\t{k}\t{i}\t{j}\n" for i, j, k in SOMATA) + "\n"
    (tmp_path / "voxels.tsv").write_text(tabs)
    (tmp_path / "world.csv").write_text("x,y,z\n" + "".join(f"{x},{y},{z}\n" for x, y, z in world(SOMATA)))
    points = Points(space="world", points=[Point(name="soma", at=tuple(at)) for at in world(SOMATA)])
    omlab.write(points, tmp_path / "points.json")
    _, regions = line_and_regions()
    for name in ("voxels.tsv", "world.csv", "points.json"):
        assert [row.somata for row in soma_densities(read_somata(tmp_path / name), regions)] == [2, 2]
    (tmp_path / "none.csv").write_text("x,y,z\n")
    assert [row.somata for row in soma_densities(read_somata(tmp_path / "none.csv"), regions)] == [0, 0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n", "columns a, b: a table of somata has x, y, z"),
        ("", "columns none"),
        ("x,y,z\n1,2,3\n1,2\n", "line 3: a soma has three numbers"),
        ("x,y,z\n1,2,nan\n", "not finite"),
    ],
)
def test_tables_that_cannot_be_used_are_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "somata.csv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_somata(tmp_path / "somata.csv")


def test_a_histogram_holds_all_of_each_region() -> None:
    axons, regions = line_and_regions()
    rows = histogram(axons, regions, side_mm=2.0)
    by_region = {row.region: row for row in densities(axons, regions)}
    for name, whole in by_region.items():
        own = [row for row in rows if row.region == name]
        assert sum(row.volume_mm3 for row in own) == pytest.approx(whole.volume_mm3)
        assert sum(row.cubes for row in own if row.density_up_to > 0) == 3
    with pytest.raises(InputError, match="no cube of voxels"):
        histogram(axons, regions, side_mm=1.0)


def test_the_tables_are_commands(tmp_path: Path) -> None:
    axons, regions = line_and_regions()
    omlab.write(axons, tmp_path / "axons.nii.gz")
    omlab.write(regions, tmp_path / "regions.nii.gz")
    (tmp_path / "somata.csv").write_text("i,j,k\n1,2,3\n")
    names = ("axons.nii.gz", "regions.nii.gz", "somata.csv", "out.csv", "spread.csv", "somata-out.csv")
    lines, places, cells, out, spread, counted = (str(tmp_path / name) for name in names)
    arguments = ["density", lines, places, "--somata", cells, "--histogram", spread, "--cube", "2", "-o", out]
    done = CliRunner().invoke(axonseg, arguments)
    assert done.exit_code == 0, done.output
    row = rows_of(tmp_path / "out.csv")[0]
    assert (row["region"], row["axon_voxels"], row["somata"]) == ("cortex", "8", "1")
    assert float(row["soma_density_per_mm3"]) == pytest.approx(1 / 280, rel=1e-5)
    assert set(rows_of(tmp_path / "spread.csv")[0]) >= {"region", "density_above", "density_up_to", "cubes"}
    done = CliRunner().invoke(axonseg, ["somata", cells, places, "-o", counted])
    assert done.exit_code == 0, done.output
    assert [row["somata"] for row in rows_of(tmp_path / "somata-out.csv")] == ["1", "0"]
