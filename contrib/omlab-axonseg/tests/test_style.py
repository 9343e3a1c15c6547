"""Style transfer: the networks' keys, gradients that reach whom they should, published files, and a short training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import omlab
import omlab_train
from omlab.errors import InputError, WeightsError
from omlab_axonseg.style_networks import TINY, CycleGan, Discriminator, Generator, StyleConfig, untrained
from omlab_axonseg.style_training import CropBatches, StyleRecipe
from omlab_volume.volume import Volume

AFFINE = np.diag([0.05, 0.05, 0.05, 1.0])


def test_a_full_generator_has_the_published_keys() -> None:
    with torch.device("meta"):
        generator, judge = Generator(width=64, blocks=9), Discriminator(width=64)
    assert sum(one.numel() for one in generator.parameters()) == 11_365_633
    keys = list(generator.state_dict())
    assert keys[:2] == ["model.1.weight", "model.1.bias"]
    assert {"model.10.conv_block.1.weight", "model.18.conv_block.5.bias", "model.19.weight", "model.26.bias"} <= {*keys}
    assert [key for key in judge.state_dict() if key.endswith("weight")] == [
        f"model.{n}.weight" for n in (0, 2, 5, 8, 11)
    ]


def test_a_discriminator_sees_patches_of_70_pixels() -> None:
    judge = Discriminator(width=2)
    x = torch.rand(1, 1, 128, 128, requires_grad=True)
    plain = torch.nn.Sequential(*(part for part in judge.model if not isinstance(part, torch.nn.InstanceNorm2d)))
    scores = plain(x)
    scores[0, 0, 7, 7].backward()
    assert x.grad is not None
    rows = np.flatnonzero(x.grad[0, 0].abs().sum(1).numpy())
    assert rows[-1] - rows[0] + 1 == 70


def gradients(network: CycleGan, term: Tensor) -> set[str]:
    network.zero_grad()
    term.backward(retain_graph=True)
    return {
        name.split(".")[0] for name, one in network.named_parameters() if one.grad is not None and bool(one.grad.any())
    }


def test_each_term_reaches_whom_it_should() -> None:
    network = untrained(TINY)
    terms = network(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32))
    assert gradients(network, terms.fooled) == {"netG_A", "netG_B"}
    assert gradients(network, terms.told) == {"netD_A", "netD_B"}
    assert gradients(network, terms.cycle) == {"netG_A", "netG_B"}
    assert gradients(network, terms.identity) == {"netG_A", "netG_B"}


def test_a_generators_file_is_enough_to_convert(tmp_path: Path) -> None:
    other = untrained(TINY, seed=5)
    torch.save(other.netG_A.state_dict(), tmp_path / "latest_net_G_A.pth")
    session = omlab.load_model("brain-style-tiny", weights=tmp_path / "latest_net_G_A.pth", device="cpu")
    array = np.random.default_rng(0).integers(0, 900, (1, 12, 9, 10)).astype(np.uint16)
    found = session.convert(Volume(array=array, affine=AFFINE))
    assert isinstance(found, Volume)
    assert found.array.shape == array.shape
    assert 0 <= found.array.min() < found.array.max() <= 1
    np.testing.assert_allclose(found.affine, AFFINE)
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"layer\.weight"):
        omlab.load_model("brain-style-tiny", weights=tmp_path / "other.pth", device="cpu")


def test_volumes_that_cannot_be_converted_are_refused() -> None:
    session = omlab.load_model("brain-style-tiny.untrained", device="cpu")
    with pytest.raises(InputError, match="2 channels"):
        session.convert(Volume(array=np.zeros((2, 4, 4, 4), np.float32), affine=AFFINE))
    with pytest.raises(ValueError, match="multiples of 4"):
        StyleConfig(sizes=(321, 448))


def styled(seed: int, *, bright: bool) -> Tensor:
    """Slices of a disc: bright on dark, or dark on bright."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[:64, :64]
    slices = []
    for _ in range(12):
        cy, cx, r = rng.uniform(26, 38), rng.uniform(26, 38), rng.uniform(10, 20)
        disc = (((y - cy) ** 2 + (x - cx) ** 2) < r * r).astype(np.float32)
        slices.append(0.2 + 0.6 * (disc if bright else 1 - disc) + rng.normal(0, 0.02, disc.shape))
    return torch.from_numpy(np.stack(slices).astype(np.float32).clip(0, 1))


@pytest.mark.slow
def test_training_lowers_its_losses(tmp_path: Path) -> None:
    network = untrained(TINY)
    slices = {"volume": styled(0, bright=True), "reference": styled(1, bright=False)}
    settings = {"steps_per_epoch": 50, "epochs": 8, "style_rate": 0.002}
    recipe = StyleRecipe(network, CropBatches(slices=slices, crop=32, seed=0), settings=settings, fingerprint="discs")
    history = omlab_train.fit(recipe, folder=tmp_path, device="cpu", seed=0)
    for name in ("loss", "cycle", "identity"):
        assert history[-1][name] < 0.75 * history[0][name], name
