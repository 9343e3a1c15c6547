"""Images: several objects, rounds, what is remembered; weights in both forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import omlab
from omlab.card_schema import ModelCard, validate
from omlab.cards import read_cards
from omlab.errors import SettingsError, UsageError, WeightsError
from omlab.weights import save_state_dict
from omlab_image.image import Image, LabelMap2D
from omlab_prompts.prompts import Box, Object, Point, Prompts
from omlab_sam.network import Sam
from omlab_sammed2d.frames import Frame
from omlab_sammed2d.model import TINY, SamMed2dModel
from omlab_sammed2d.predictor import sets_of


def picture(seed: int = 0, shape: tuple[int, ...] = (40, 60)) -> Image:
    return Image(array=np.random.default_rng(seed).integers(0, 255, shape, np.uint8), spacing=(0.5, 0.7))


def session(**settings: Any) -> Any:
    return omlab.load_model("sammed2d-tiny.untrained", device="cpu", settings=settings)


CLICK = Object(name="organ", points=(Point(at=(20, 10)), Point(at=(5, 5), label=0)))
BOX = Object(name="bone", boxes=(Box(near=(30, 5), far=(55, 30)),))


def prompts(*objects: Object) -> Prompts:
    return Prompts(space="pixel", image="the image", objects=objects)


def test_objects_are_labels_on_the_pixels_of_the_image() -> None:
    image, model = picture(), session()
    found = model.predict(image, prompts=prompts(CLICK, BOX))
    assert isinstance(found, LabelMap2D)
    assert found.same_grid(image)
    assert dict(found.names) == {1: "organ", 2: "bone"}
    for name, told in found.tells()["structures"].items():
        value = {name: value for value, name in found.names.items()}[name]
        assert told["pixels"] == np.count_nonzero(found.array == value)
        assert 0 < told["margin"] < 1
        assert np.isfinite(told["predicted_iou"])
    assert found.tells()["gate"] == {"image": found.tells()["gate"]["image"] | {"doubts": []}}
    alone = [model.predict(image, prompts=prompts(one)).array > 0 for one in (CLICK, BOX)]
    np.testing.assert_array_equal(found.array > 0, alone[0] | alone[1])


def test_an_image_is_encoded_once_and_a_batch_at_once() -> None:
    model, images = session(), [picture(1), picture(2, (30, 30, 3))]
    seen: list[int] = []
    encoder = model.model.module.image_encoder
    encoder.register_forward_pre_hook(lambda _module, given: seen.append(len(given[0])))
    cases = [{"image": image, "prompts": prompts(Object(name="a", points=(Point(at=(9, 9)),)))} for image in images]
    together = model.apply("predict", cases)
    assert seen == [2]
    model.apply("predict", cases)
    assert seen == [2]
    for case, found in zip(cases, together, strict=True):
        np.testing.assert_array_equal(session().predict(**case).array, found.array)


def test_colours_are_given_in_the_order_of_the_weights() -> None:
    image = picture(3, (32, 32, 3))
    turned = Image(array=np.ascontiguousarray(image.array[..., ::-1]))
    asked = prompts(BOX.model_copy(update={"boxes": (Box(near=(3, 3), far=(20, 20)),)}))
    found = session().predict(image, prompts=asked).array
    other = session(channel_order="rgb").predict(turned, prompts=asked).array
    np.testing.assert_array_equal(found, other)


def test_several_boxes_share_the_clicks() -> None:
    frame = Frame(shape=(64, 64), side=64)
    boxes = np.array([[0, 0, 20, 20], [30, 30, 60, 60]], float)
    points = np.array([[10, 10], [40, 40], [25, 25], [1, 60]], float)
    sets = sets_of(boxes, points, np.array([1, 1, 1, 0]), frame=frame)
    assert [one.points.tolist() for one in sets] == [[[10, 10], [1, 60]], [[40, 40], [1, 60]], [[25, 25], [1, 60]]]
    assert [one.box is None for one in sets] == [False, False, True]
    assert sets_of(boxes[:0], points[3:], np.array([0]), frame=frame) == []


def test_an_object_that_nothing_points_into_is_refused() -> None:
    outside = Object(name="organ", points=(Point(at=(5, 5), label=0),))
    with pytest.raises(UsageError, match="'organ' has neither a box nor a click in it"):
        session().predict(picture(), prompts=prompts(outside))


@pytest.mark.parametrize("start", ["point", "box"])
@pytest.mark.parametrize("rule", ["random", "deepest"])
def test_simulated_clicks_come_back_as_prompts(start: str, rule: str) -> None:
    image, model = picture(), session()
    array = np.zeros((40, 60), np.uint8)
    array[5:20, 40:60], array[25:40, 10:22] = 1, 3
    reference = LabelMap2D(array=array, names={1: "organ", 3: "organ"}, spacing=image.spacing)
    done = model.simulate(image=image, reference=reference, clicks=3, start=start, rule=rule)
    assert [entry.name for entry in done.prompts.objects] == ["organ (1)", "organ (3)"]
    assert ("dice_box" in done.scores.columns) == (start == "box")
    again = model.predict(image, prompts=done.prompts)
    np.testing.assert_array_equal(again.array, done.prediction.array)
    rows = {(row["object"], row["round"]): row["dice"] for row in done.scores.rows}
    both, sizes = ((again.array == 1) & (array == 1)).sum(), (again.array == 1).sum() + (array == 1).sum()
    assert rows["organ (1)", 3] == pytest.approx(2 * both / sizes)


def test_simulated_clicks_begin_at_what_another_model_found() -> None:
    image, model = picture(), session()
    array = np.zeros((40, 60), np.uint8)
    array[5:20, 40:60] = 1
    reference = LabelMap2D(array=array, names={1: "organ"}, spacing=image.spacing)
    other = LabelMap2D(array=np.roll(array, 7, 0), names={1: "Organ"}, spacing=image.spacing)
    done = model.simulate(image=image, reference=reference, found=other, clicks=1)
    x, y = done.prompts.objects[0].points[0].at
    assert other.array[int(y), int(x)] == 1
    assert [row["first"] for row in done.scores.rows] == ["found"]


def card() -> ModelCard:
    found = next(one for one in read_cards("omlab_sammed2d", "model") if one.name == "sammed2d-tiny")
    made = validate(found)
    assert isinstance(made, ModelCard)
    return made


def loaded(path: Path, **settings: Any) -> SamMed2dModel:
    model = omlab.load_model("sammed2d-tiny", weights=path, device="cpu", settings=settings).model
    assert isinstance(model, SamMed2dModel)
    return model


def test_weights_with_and_without_adapters(tmp_path: Path) -> None:
    torch.manual_seed(3)
    sam = Sam(**TINY, adapters=True)
    path = tmp_path / "with.safetensors"
    save_state_dict(dict(sam.state_dict()), path)
    assert torch.equal(loaded(path, image_size=128).module.state_dict()[KEY], sam.state_dict()[KEY])
    plain = loaded(path, image_size=128, adapters="none").module
    assert not plain.adapters
    assert torch.equal(plain.state_dict()[PATCH], sam.state_dict()[PATCH])
    save_state_dict(dict(plain.state_dict()), tmp_path / "without.safetensors")
    assert not loaded(tmp_path / "without.safetensors", image_size=128).module.adapters
    assert loaded(tmp_path / "without.safetensors", image_size=128, adapters="new").module.adapters


KEY = "image_encoder.blocks.1.Adapter.norm.weight"
PATCH = "image_encoder.patch_embed.proj.weight"
HEAD = "mask_decoder.mask_tokens.weight"


def test_a_file_of_another_size_is_read_and_its_mask_heads_begin_anew(tmp_path: Path) -> None:
    sam = Sam(**{**TINY, "image_size": 256})
    save_state_dict(dict(sam.state_dict()), tmp_path / "large.safetensors")
    small = loaded(tmp_path / "large.safetensors", image_size=128).module
    assert small.image_size == 128
    assert torch.equal(small.state_dict()[PATCH], sam.state_dict()[PATCH])
    assert not torch.equal(small.state_dict()[HEAD], sam.state_dict()[HEAD])


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    save_state_dict({"a.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"not a SAM checkpoint.*a\.weight"):
        loaded(tmp_path / "other.safetensors")
    sam = dict(Sam(**TINY).state_dict())
    del sam["image_encoder.neck.0.weight"]
    save_state_dict(sam, tmp_path / "torn.safetensors")
    with pytest.raises(WeightsError, match=r"neck\.0\.weight"):
        loaded(tmp_path / "torn.safetensors", image_size=128)
    with pytest.raises(SettingsError, match="image size 100 is not a multiple of 16"):
        session(image_size=100)
    for window in ([40], [40, 0]):
        with pytest.raises(SettingsError, match="centre and width"):
            session(window=window)


def test_the_cards_are_of_one_network() -> None:
    cards = {one.name: one for one in read_cards("omlab_sammed2d", "model")}
    for name in ("sammed2d", "sammed2d-tiny"):
        image, volume = cards[name].data, cards[f"{name}-volume"].data
        assert image["also"] == [f"{name}-volume"]
        assert volume["also"] == [name]
        assert image.get("weights") == volume.get("weights")
        assert {**image["settings"], "gate": volume["settings"]["gate"]} == volume["settings"]  # of volumes alone
    assert card().parameters == sum(one.numel() for one in Sam(**TINY, adapters=True).parameters())
