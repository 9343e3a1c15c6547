"""torchmil's numbers come out as it gives them, bag by bag; its loss is what is minimised; a third class is refused."""

from __future__ import annotations

import pytest
import torch

from omlab import About
from omlab.errors import TrainingError, WeightsError
from omlab_slide.mil.packed import Packed
from omlab_torchmil.model import of_name
from omlab_torchmil.network import NAMES, TorchMil, TorchMilConfig


def drawn(model: str) -> TorchMil:
    torch.manual_seed(0)
    return TorchMil(TorchMilConfig(model=model, embed_dim=6, att_dim=8)).eval()


@pytest.mark.parametrize("model", [name for name in NAMES if name != "dtfd"])
def test_packed_bags_give_what_torchmil_gives_of_each(model: str) -> None:
    network, bags = drawn(model), [torch.randn(count, 6) for count in (1, 7, 12)]
    packed = Packed.of(bags)
    found = network(packed.features, packed.offsets)
    for place, bag in enumerate(bags):
        wanted, patches = network.network.predict(bag[None], return_inst_pred=True)
        torch.testing.assert_close(found.logits[place], torch.stack([torch.zeros(()), wanted.reshape(())]))
        rows = slice(int(packed.offsets[place]), int(packed.offsets[place + 1]))
        torch.testing.assert_close(found.attention[rows, 0], patches.reshape(-1))


@pytest.mark.parametrize("model", NAMES)
def test_the_loss_is_torchmils_and_reaches_every_bag(model: str) -> None:
    network = drawn(model).train()
    packed = Packed.of([torch.randn(count, 6) for count in (5, 9)])
    found = network(packed.features, packed.offsets, torch.tensor([0, 1]))
    assert found.loss is not None
    found.loss.backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_draws_of_dtfd_are_the_same_again() -> None:
    network, packed = drawn("dtfd"), Packed.of([torch.randn(30, 6)])
    first, second = (network(packed.features, packed.offsets) for _ in range(2))
    assert torch.equal(first.logits, second.logits)


def test_a_third_class_is_refused_in_a_sentence() -> None:
    import omlab

    session = omlab.load_model("torchmil-abmil.untrained", settings={"features": 6})
    about = About(inputs={"bag": "bag"}, classes={0: "a", 1: "b", 2: "c"})
    with pytest.raises(TrainingError, match="tells 2 classes apart, but the data have 3: a, b, c"):
        session.model.retarget("mil", about, settings={}, seed=0)  # type: ignore[attr-defined]
    with pytest.raises(WeightsError, match="not that of such a slide network"):
        of_name("abmil").network({"model": "abmil", "n_classes": 3})
