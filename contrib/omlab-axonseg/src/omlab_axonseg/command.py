"""`omlab axonseg`: tables of axons and of somata by brain region."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from omlab_volume.volume import LabelMap

_FILE = click.Path(path_type=Path)


@click.group("axonseg")
def axonseg() -> None:
    """Axons and somata of whole brains: tables by region."""


@axonseg.command("density")
@click.argument("axons", type=_FILE)
@click.argument("regions", type=_FILE)
@click.option("--somata", type=_FILE, help="Somata to count beside: as for `omlab axonseg somata`.")
@click.option("--histogram", type=_FILE, help="A second table (.csv): how much of each region is how dense.")
@click.option("--cube", type=float, default=0.1, show_default=True, help="Side of the histogram's cubes in mm.")
@click.option("-o", "--output", type=_FILE, required=True, help="The table (.csv).")
def density(axons: Path, regions: Path, somata: Path | None, histogram: Path | None, cube: float, output: Path) -> None:
    """Write how many AXONS (a label map) lie in each of REGIONS (a label map on the same grid).

    Columns: voxels, mm3, the share of voxels that are axons, and mm of centre line; with --somata also their number and
    their number in a mm3. The histogram has a row for each region and range of density: cubes, and their mm3.
    """
    from omlab_axonseg.density import densities, table
    from omlab_axonseg.histogram import histogram as spread
    from omlab_axonseg.somata import read_somata, soma_densities

    places, lines = _label_map(regions), _label_map(axons)
    rows = densities(lines, places)
    beside = soma_densities(read_somata(somata), places) if somata is not None else ()
    tables = {output: table(rows, beside=beside)}
    if histogram is not None:
        tables[histogram] = table(spread(lines, places, side_mm=cube))
    for path, text in tables.items():
        _write(text, path)


@axonseg.command("somata")
@click.argument("somata", type=_FILE)
@click.argument("regions", type=_FILE)
@click.option("-o", "--output", type=_FILE, required=True, help="The table (.csv).")
def count_somata(somata: Path, regions: Path, output: Path) -> None:
    """Write how many SOMATA lie in each of REGIONS (a label map).

    SOMATA are a table (.csv, .tsv) with the columns x, y, z (mm, RAS+) or i, j, k (voxels of REGIONS), points (.json),
    or a label map, of any grid, whose connected parts are somata. Columns: mm3, somata, somata in a mm3.
    """
    from omlab_axonseg.density import table
    from omlab_axonseg.somata import read_somata, soma_densities

    _write(table(soma_densities(read_somata(somata), _label_map(regions))), output)


def _label_map(path: Path) -> LabelMap:
    import omlab
    from omlab.errors import InputError
    from omlab_volume.volume import LabelMap

    found = omlab.read(path, kind="labelmap")
    if not isinstance(found, LabelMap):
        raise InputError(f"{path} must be a label map, not a {found.kind}.")
    return found


def _write(text: str, path: Path) -> None:
    from omlab.files import replacing, writing

    with writing("The table", path), replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    click.echo(str(path))
