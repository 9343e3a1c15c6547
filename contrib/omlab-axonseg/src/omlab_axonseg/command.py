"""`omlab axonseg density`: a table of axons by brain region."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("axonseg")
def axonseg() -> None:
    """Axons of whole brains: tables by region."""


@axonseg.command("density")
@click.argument("axons", type=click.Path(path_type=Path))
@click.argument("regions", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The table (.csv).")
def density(axons: Path, regions: Path, output: Path) -> None:
    """Write how many AXONS (a label map) lie in each of REGIONS (a label map on the same grid).

    Columns: voxels, mm3, the share of voxels that are axons, and mm of centre line.
    """
    import omlab
    from omlab.errors import InputError
    from omlab.files import replacing, writing
    from omlab_axonseg.density import densities, table
    from omlab_volume.volume import LabelMap

    maps = [omlab.read(path, kind="labelmap") for path in (axons, regions)]
    first, second = maps
    if not isinstance(first, LabelMap) or not isinstance(second, LabelMap):
        raise InputError(f"{axons} and {regions} must be label maps.")
    text = table(densities(first, second))
    with writing("The table", output), replacing(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    click.echo(str(output))
