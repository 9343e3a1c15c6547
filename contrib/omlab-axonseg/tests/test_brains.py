"""Whole brains, tables and registration: what is promised beyond the golden numbers."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional

import omlab
from omlab.errors import InputError, OmlabWarning, SettingsError
from omlab_axonseg.command import axonseg
from omlab_axonseg.density import densities
from omlab_axonseg.register import TINY_WIDTHS, untrained
from omlab_axonseg.register_training import PairBatches, RegistrationRecipe
from omlab_axonseg.registration.cascade import Cascade, CascadeConfig
from omlab_axonseg.registration.losses import folding, mutual_information
from omlab_axonseg.registration.mean_filter import mean_filter
from omlab_axonseg.registration.networks import NonRigidNet, published_rotation
from omlab_axonseg.tiling import Tiling, starts_along
from omlab_volume.big.payloads import big
from omlab_volume.testing import example_big_volumes, example_volumes
from omlab_volume.volume import Label, LabelMap, Volume


def line_and_regions() -> tuple[LabelMap, LabelMap]:
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    axons, regions = np.zeros((20, 8, 8), np.uint8), np.ones((20, 8, 8), np.uint8)
    axons[2:18, 4, 4] = 1
    regions[10:] = 2
    names = (Label(value=1, name="cortex"), Label(value=2, name="stem"))
    return LabelMap(array=axons, affine=affine), LabelMap(array=regions, affine=affine, labels=names)


def test_densities_have_units() -> None:
    rows = densities(*line_and_regions())
    assert [row.region for row in rows] == ["cortex", "stem"]
    assert [row.axon_voxels for row in rows] == [8, 8]
    assert rows[0].volume_mm3 == pytest.approx(0.5 * 640)
    assert rows[0].density == pytest.approx(8 / 640)
    assert sum(row.length_mm for row in rows) == pytest.approx(15 * 0.5)


def test_the_table_is_a_command(tmp_path: Path) -> None:
    axons, regions = line_and_regions()
    omlab.write(axons, tmp_path / "axons.nii.gz")
    omlab.write(regions, tmp_path / "regions.nii.gz")
    out = tmp_path / "table.csv"
    done = CliRunner().invoke(
        axonseg, ["density", str(tmp_path / "axons.nii.gz"), str(tmp_path / "regions.nii.gz"), "-o", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert out.read_text().splitlines()[1].startswith("cortex,1,320,640,8,")


def test_other_grids_and_empty_regions_are_refused() -> None:
    axons, regions = line_and_regions()
    with pytest.raises(InputError, match="onto the axons' grid"):
        densities(axons, LabelMap(array=regions.array[:10], affine=regions.affine))
    with pytest.raises(InputError, match="no region"):
        densities(axons, LabelMap(array=np.zeros_like(regions.array), affine=regions.affine))


def test_rows_of_windows_cover_every_voxel() -> None:
    assert starts_along(25, step=10) == [0, 10, 15]
    assert starts_along(7, step=10) == [0]
    brain = np.random.default_rng(0).integers(1, 100, (9, 14, 11)).astype(np.uint16)
    tiling = Tiling(window=8, overlap=2, normalise="brain")
    covered = np.zeros(brain.shape, int)
    rows = list(tiling.rows(torch.zeros_like, lambda *box: brain[box], shape=brain.shape))
    for place, row in zip(tiling.places(brain.shape), rows, strict=True):
        assert row.shape == covered[place].shape
        covered[place] += 1
    assert covered.min() >= 1
    later = list(tiling.rows(torch.zeros_like, lambda *box: brain[box], shape=brain.shape, begin=3))
    assert all(np.array_equal(a, b) for a, b in zip(rows[3:], later, strict=True))


def test_axons_are_told_with_their_volume_though_rows_overlap() -> None:
    array = np.random.default_rng(0).integers(0, 4000, (1, 30, 41, 37)).astype(np.uint16)
    volume = big(Volume(array=array, affine=np.diag([0.004, 0.004, 0.003, 1.0])))
    found = omlab.load_model("axonseg-tiny.untrained", device="cpu").predict(volume)
    labels = found.loaded()
    told = found.tells()["structures"]["axon"]
    assert told["ml"] == pytest.approx(np.count_nonzero(labels.array) * volume.grid.voxel_ml, rel=1e-5)
    assert 0 < told["margin"] < 1
    assert labels.facts["structures"]["axon"] == told


def test_empty_windows_do_not_ask_the_network() -> None:
    def refuse(image: torch.Tensor) -> torch.Tensor:
        raise AssertionError("asked")

    tiling = Tiling(window=8, overlap=2, skip_below=0.0)
    rows = tiling.rows(refuse, lambda *box: np.zeros((8, 8, 8), np.uint8)[box], shape=(8, 8, 8))
    assert not any(row.any() for row in rows)


def test_a_mean_filter_of_three_axes_is_that_of_the_cube() -> None:
    x = torch.randn(1, 2, 7, 6, 8, dtype=torch.float64)
    whole = torch.nn.functional.avg_pool3d(x, 5, stride=1, padding=2)
    torch.testing.assert_close(mean_filter(x, size=5), whole)
    with pytest.raises(ValueError, match="odd"):
        mean_filter(x, size=4)


def test_mutual_information_falls_with_noise() -> None:
    torch.manual_seed(0)
    a = torch.rand(4000)
    noisy = [mutual_information(a, a + spread * torch.rand(4000)).item() for spread in (0.0, 0.3, 3.0)]
    assert noisy == sorted(noisy)
    b = a.clone().requires_grad_()
    mutual_information(a, b * b).backward()
    assert torch.isfinite(b.grad).all()  # type: ignore[arg-type]


def test_folding_is_seen() -> None:
    still = torch.zeros(1, 4, 4, 4, 3)
    folded = still.clone()
    folded[..., 0] = -2.0 * torch.arange(4.0)
    assert folding(still) == 0
    assert folding(folded) == pytest.approx(1.0)


def test_the_published_rotation_has_its_slip() -> None:
    matrix = published_rotation(torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64))[0]
    assert matrix[2, 1] == pytest.approx(-np.cos(0.2) * np.sin(0.3))
    assert abs(float(torch.linalg.det(matrix)) - 1) > 1e-3


def test_an_untrained_registration_stays_near_and_says_what_it_did() -> None:
    session = omlab.load_model("atlas-registration-tiny.untrained", device="cpu")
    volume = example_volumes()[2]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", OmlabWarning)
        found = session.register(fixed=volume, moving=volume)
    sentences = [str(one.message) for one in said]
    assert any("brought to 20 x 20 x 20" in one for one in sentences)
    assert any("Without the regions outline, hpf, cp" in one for one in sentences)
    assert found.warped.same_grid(volume)
    extent = np.array(volume.grid.shape) * volume.grid.spacing
    assert np.abs(found.transform.displacement).max() < 0.3 * extent.max()


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingsError, match="at least 17"):
        omlab.load_model("atlas-registration-tiny.untrained", device="cpu", settings={"sizes": [8, 20, 20]})


def test_a_big_volume_goes_through_the_gate() -> None:
    volume = example_big_volumes()[0]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", OmlabWarning)
        omlab.load_model("axonseg-tiny.untrained", device="cpu").predict(volume)
    assert any("voxel size is unusual" in str(one.message) for one in said)
    with pytest.raises(InputError, match="refused"):
        omlab.load_model("axonseg-tiny.untrained", device="cpu", settings={"gate": "refuse"}).predict(volume)


def cascade(scale: int) -> Cascade:
    return untrained(
        CascadeConfig(
            constraints=("image",), box_filter=5, scale=scale, affine_widths=TINY_WIDTHS, nonrigid_widths=(4, 4)
        )
    )


def test_a_file_of_half_resolution_shows_its_scale(tmp_path: Path) -> None:
    session = omlab.load_model("atlas-registration-tiny.untrained", device="cpu", settings={"scale": 2})
    saved = tmp_path / "half.pth"
    torch.save({"model": {f"module.{key}": one for key, one in session.model.module.state_dict().items()}}, saved)
    again = omlab.load_model("atlas-registration-tiny", weights=saved, device="cpu")
    assert again.model.module.config.scale == 2
    assert again.model.sizes == (40, 40, 40)
    with pytest.raises(SettingsError, match="weights are of scale 2"):
        omlab.load_model("atlas-registration-tiny", weights=saved, device="cpu", settings={"scale": 1})


def test_a_higher_scale_goes_on_where_the_lower_one_was(tmp_path: Path) -> None:
    low = cascade(1)
    torch.save(low.state_dict(), tmp_path / "quarter.pth")
    settings = {"scale": 2, "regions": []}
    high = omlab.load_model(
        "atlas-registration-tiny", weights=tmp_path / "quarter.pth", device="cpu", settings=settings
    )
    volume = torch.rand(1, 1, 20, 22, 24)
    fixed, moving = (functional.interpolate(one, scale_factor=2) for one in (volume, volume.flip(4)))
    few = low({"image": fixed[..., ::2, ::2, ::2]}, {"image": moving[..., ::2, ::2, ::2]})
    many = high.model.module({"image": fixed}, {"image": moving})
    torch.testing.assert_close(many[0].matrix, few[0].matrix)
    assert many[1].displacement.shape == (1, 40, 44, 48, 3)


def test_without_its_branches_a_higher_scale_gives_the_lower_field_at_its_size() -> None:
    torch.manual_seed(0)
    low = NonRigidNet(2, box_filter=1, widths=(4, 4))
    high = NonRigidNet(2, box_filter=1, widths=(4, 4), scale=3)
    high.load_state_dict({name: torch.zeros_like(one) for name, one in high.state_dict().items()} | low.state_dict())
    x = torch.rand(1, 2, 16, 20, 12)
    before = low(x[..., ::4, ::4, ::4]).movedim(-1, 1).atanh()
    expected = functional.interpolate(before, scale_factor=4, mode="trilinear").tanh().movedim(1, -1)
    torch.testing.assert_close(high(x), expected)
    with pytest.raises(ValueError, match="multiples of 4"):
        high(x[..., :-1])


def test_at_a_higher_scale_the_newest_branch_learns() -> None:
    class Model:
        module, regions = cascade(3), ()

    settings = {"steps": 1, "steps_per_epoch": 1, "nonrigid_rate": 0.1, "matrix_rate": 0.1}
    recipe = RegistrationRecipe(Model(), PairBatches(pairs=(), seed=0), settings=settings, print_="")  # type: ignore[arg-type]
    learning = {id(one) for group in recipe.groups() for one in group["params"]}
    names = [name for name, one in Model.module.named_parameters() if id(one) in learning]
    assert len(names) == 12
    assert all("sample_module_list_list.2." in name for name in names)


def test_registration_is_validated_by_the_same_pairs_and_places_each_time() -> None:
    class Model:
        module, regions = cascade(1), ()

    def pairs(*seeds: int) -> PairBatches:
        found = [torch.rand(2, 1, 1, 20, 20, 20, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return PairBatches(pairs=tuple({"fixed": {"image": a}, "moving": {"image": b}} for a, b in found), seed=0)

    settings = {"steps": 3, "steps_per_epoch": 3, "nonrigid_rate": 0.001, "matrix_rate": 0.001}
    learned = pairs(1, 2, 3)
    how = {"settings": settings, "print_": ""}
    recipe = RegistrationRecipe(Model(), learned, **how, validation=pairs(4, 5))  # type: ignore[arg-type]
    with torch.no_grad():
        assert recipe.validate() == recipe.validate()
        assert (recipe.validate() or {}).keys() == {"loss", "correlation"}
        assert RegistrationRecipe(Model(), learned, **how).validate() is None  # type: ignore[arg-type]
    first = [float(learned(number)["fixed"]["image"].sum()) for number in range(6)]
    assert sorted(first[:3]) == sorted(first[3:]) == sorted(float(one["fixed"]["image"].sum()) for one in learned.pairs)


def test_sides_of_a_higher_scale_are_multiples() -> None:
    settings = {"sizes": [33, 40, 40], "scale": 2}
    with pytest.raises(SettingsError, match="multiples of 2"):
        omlab.load_model("atlas-registration-tiny.untrained", device="cpu", settings=settings)
