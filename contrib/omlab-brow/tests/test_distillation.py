"""Views, tiles, centre and teacher: what the golden cases do not look at."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

import omlab
from omlab.errors import InputError, SettingsError
from omlab_brow.distillation import SelfDistillation, pairs_of, shuffled
from omlab_brow.images import Seen
from omlab_brow.views import MultiCrop
from omlab_brow.vit import VitConfig
from omlab_image import Image
from omlab_train.distillation import HeadConfig
from omlab_train.teacher import Step

CONFIG = VitConfig(size=16, patch=8, width=16, depth=1, heads=2)
HEAD = HeadConfig(outputs=12, hidden=8, bottleneck=4)


def image(side: int = 64) -> Image:
    return Image(array=np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8))


def views(*, scale: bool = False) -> dict[str, Tensor]:
    made = MultiCrop(size=16, local_size=8, local_views=3, surroundings=2.0 if scale else 0.0)
    return {name: torch.stack([view, view.flip(-1)]) for name, view in made(image(), 3).items()}


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_views_are_a_function_of_image_and_seed() -> None:
    made = MultiCrop(size=32, local_size=16, local_views=3, surroundings=2.0)
    first, again, other = (made(image(), seed) for seed in (1, 1, 2))
    assert {name: tuple(view.shape) for name, view in first.items()} == {
        "global": (2, 3, 32, 32), "local": (3, 3, 16, 16), "scale": (1, 3, 32, 32),
    }  # fmt: skip
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    assert made(image(), 1)["scale"].std() > 0
    assert MultiCrop(size=16, local_views=0)(image(), 1)["local"].shape == (0, 3, 96, 96)


def test_tiles_change_their_places_and_nothing_else() -> None:
    x = torch.arange(2 * 3 * 16 * 16.0).reshape(1, 2, 3, 16, 16)
    y = shuffled(x, grid=2, generator=draw())
    tiles = [y[0, v, :, r : r + 8, c : c + 8] for v in (0, 1) for r in (0, 8) for c in (0, 8)]
    wanted = [x[0, v, :, r : r + 8, c : c + 8] for v in (0, 1) for r in (0, 8) for c in (0, 8)]
    places = [next(n for n, one in enumerate(wanted) if torch.equal(one, tile)) for tile in tiles]
    assert sorted(places) == list(range(8))
    assert sorted(places[:4]) == [0, 1, 2, 3]  # within a view
    assert torch.equal(shuffled(x, grid=0, generator=draw()), x)
    with pytest.raises(ValueError, match="no 3 x 3 tiles"):
        shuffled(x, grid=3, generator=draw())


def test_a_step_moves_teacher_and_centre_in_training_alone() -> None:
    module = SelfDistillation(CONFIG, head=HEAD)
    assert not list(module.teacher.parameters())
    with torch.no_grad():
        module.student.backbone.cls_token.add_(1)
    before = copy.deepcopy(module.state_dict())
    module.eval()(views(), draw(), Step(teacher_temperature=0.04, momentum=0.5))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    module.train()(views(), draw(), Step(teacher_temperature=0.04, momentum=0.75))
    token = "backbone.cls_token"
    wanted = 0.75 * before[f"teacher.{token}"] + 0.25 * before[f"student.{token}"]
    torch.testing.assert_close(module.state_dict()[f"teacher.{token}"], wanted)
    assert module.center.norm() > 0


def test_the_last_layer_may_be_frozen() -> None:
    module = SelfDistillation(CONFIG, head=HEAD).train()
    for frozen in (True, False):
        module.zero_grad()
        loss, _ = module(views(), draw(), Step(teacher_temperature=0.04, frozen=frozen))
        loss.backward()
        assert (module.student.head.last_layer.weight_v.grad is None) == frozen
        assert module.student.head.mlp[0].weight.grad is not None


def test_the_view_of_the_surroundings_is_the_teachers_alone() -> None:
    pairs = pairs_of(3, 5, shared=2)
    assert pairs.tolist() == [[0, 1, 1, 1, 1], [1, 0, 1, 1, 1], [1, 1, 1, 1, 1]]
    module = SelfDistillation(CONFIG, head=HEAD)
    assert torch.isfinite(module(views(scale=True), draw(), Step(teacher_temperature=0.04))[0])


def test_a_patch_is_cut_and_never_resized_unless_asked() -> None:
    small = Image(array=image(40).array)
    with pytest.raises(InputError, match=r"40 x 40 pixels, but the middle 224 x 224 of a patch are seen"):
        Seen()(small)
    assert Seen(view="whole")(small).shape == (3, 224, 224)
    assert torch.equal(Seen(size=32)(image(64)), Seen(size=32)(Image(array=image(64).array[16:48, 16:48])))
    grey = Seen(size=32)(Image(array=image(40).array[..., 0]))
    assert grey.shape == (3, 32, 32)


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(SettingsError, match="size is 30, but must be a multiple of the patch, 8 pixels"):
        omlab.load_model("brow-tiny", settings={"size": 30})
