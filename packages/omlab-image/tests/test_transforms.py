"""Transforms: as torchvision and timm do it for published models, and pure functions of image and seed."""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from torchvision import transforms as torchvision

from omlab.errors import InputError, SettingsError
from omlab_image import Image
from omlab_image.testing import example_images, odd_images
from omlab_image.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    evaluation,
    pretraining,
    standardised,
    training,
)


def _picture(height: int = 61, width: int = 83, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3))
    return Image(array=np.kron(noise, np.ones((4, 4, 1)))[:height, :width].astype(np.uint8))


@pytest.mark.parametrize("size", [32, 48])
def test_evaluation_is_torchvisions(size: int) -> None:
    image = _picture()
    upstream = torchvision.Compose(
        [
            torchvision.Resize(int(size / 0.875), interpolation=torchvision.InterpolationMode.BICUBIC),
            torchvision.CenterCrop(size),
            torchvision.ToTensor(),
            torchvision.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    assert torch.equal(evaluation(size)(image), upstream(Pillow.fromarray(image.array)))


def test_the_aspect_may_be_ignored_and_nothing_cut_off() -> None:
    image = _picture()
    upstream = torchvision.Compose(
        [
            torchvision.Resize((40, 40), interpolation=torchvision.InterpolationMode.BILINEAR),
            torchvision.ToTensor(),
            torchvision.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )
    prepare = evaluation(40, crop=1.0, aspect="ignore", interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    assert torch.equal(prepare(image), upstream(Pillow.fromarray(image.array)))


def test_standardised_is_the_notebooks() -> None:
    image = _picture()
    pixels = np.array(Pillow.fromarray(image.array).resize((32, 32), Pillow.Resampling.BICUBIC)) / 255.0
    expected = (pixels - pixels.mean((0, 1))) / pixels.std((0, 1))
    found = standardised(32)(image)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), expected, atol=1e-5)
    assert not standardised(32)(Image(array=np.full((9, 9), 7, np.uint8))).any()


def test_more_than_8_bits_are_not_lost() -> None:
    ramp = np.linspace(0, 0.002, 40 * 40, dtype=np.float32).reshape(40, 40)  # less than one grey level of 8 bits
    fine = Image(array=np.rint(65535 * ramp).astype(np.uint16))
    assert len(evaluation(40, crop=1.0)(fine)[0].unique()) > 50
    assert len(evaluation(40, crop=1.0)(Image(array=fine.eight_bit()))[0].unique()) == 2


@settings(max_examples=15)
@given(height=st.integers(8, 80), width=st.integers(8, 80), size=st.integers(4, 48), seed=st.integers(0, 10**6))
def test_images_of_8_and_16_bits_are_prepared_alike(height: int, width: int, size: int, seed: int) -> None:
    image = _picture(height, width, seed)
    image = image.with_array(80 + image.array // 3)
    fine = Image(array=image.array.astype(np.uint16) * 257)
    # Pillow rounds to 8 bits after each axis (and cuts off what goes beyond them: here nothing does)
    assert (evaluation(size)(image) - evaluation(size)(fine)).abs().max() < 3 / 255 / min(IMAGENET_STD)


@pytest.mark.parametrize("make", [training, pretraining])
def test_draws_are_a_function_of_image_and_seed(make: Any) -> None:
    augment, image = make(24), _picture()
    first = augment(image, 7)
    assert first.shape == (3, 24, 24)
    assert first.dtype == torch.float32
    random.random(), np.random.random(), torch.rand(3)
    assert torch.equal(augment(image, 7), first)
    assert torch.equal(ForkingPickler.loads(ForkingPickler.dumps(augment))(image, 7), first)
    assert not torch.equal(augment(image, 8), first)
    assert torch.isfinite(augment(image, -3)).all()
    assert torch.isfinite(augment(image, 2**63)).all()


@pytest.mark.parametrize("make", [training, pretraining])
def test_draws_leave_the_generators_of_the_process_alone(make: Any) -> None:
    augment, image = make(24), _picture()
    for seeder in (random.seed, np.random.seed, torch.manual_seed):
        seeder(3)
    expected = random.random(), np.random.random(), torch.rand(()).item()
    for seeder in (random.seed, np.random.seed, torch.manual_seed):
        seeder(3)
    augment(image, 7)
    assert (random.random(), np.random.random(), torch.rand(()).item()) == expected


def test_threads_that_augment_at_once_do_not_disturb_each_other() -> None:
    augment, image = training(24), _picture()
    alone = [augment(image, seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: augment(image, seed), range(40)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_pair_of_images_gets_the_same_part() -> None:
    image = _picture()
    inverse = image.with_array(255 - image.array)
    first, second = (pretraining(24, mean=(0.5,) * 3, std=(0.5,) * 3)(one, 11) for one in (image, inverse))
    assert (first + second).abs().max() < 0.02  # one is the negative of the other, but for rounding


def test_training_has_all_parts() -> None:
    image = _picture()
    plain = training(24, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, auto_augment="", erasing=0.0)
    assert torch.equal(plain(image, 0), plain(image, 1))
    mirrored = training(24, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=1.0, auto_augment="", erasing=0.0)
    assert torch.equal(mirrored(image, 0), plain(image, 0).flip(2))
    erased = training(24, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, auto_augment="", erasing=1.0)
    changed = (erased(image, 0) != plain(image, 0)).any(0)
    assert 0.01 < changed.float().mean() < 0.4


def test_every_draw_of_the_highest_magnitude_can_be_made() -> None:
    made = training(32, auto_augment="rand-m10-inc1-n8", erasing=0.0)
    drawn = [made(_picture(), seed) for seed in range(40)]
    black = -torch.tensor(IMAGENET_MEAN) / torch.tensor(IMAGENET_STD)
    assert any(torch.allclose(one, black[:, None, None].expand_as(one), atol=1e-5) for one in drawn)  # no bit was kept
    policy = training(32, auto_augment="original", erasing=0.0)
    assert all(policy(_picture(), seed).isfinite().all() for seed in range(40))


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (evaluation, {"size": 0}),
        (evaluation, {"crop": 1.5}),
        (evaluation, {"aspect": "stretch"}),
        (evaluation, {"interpolation": "cubic"}),
        (evaluation, {"std": (0.5, 0.5, 0.0)}),
        (training, {"scale": (0.5, 0.1)}),
        (training, {"auto_augment": "no-such-thing"}),
        (training, {"erasing": 2.0}),
        (pretraining, {"scale": (0.0, 1.0)}),
        (pretraining, {"flip": -1.0}),
        (standardised, {"size": -1}),
    ],
)
def test_values_that_cannot_be_are_refused(make: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        make(**wrong)


def test_odd_images_are_prepared_or_refused() -> None:
    for name, image in odd_images().items():
        for prepare in (
            evaluation(16),
            standardised(16),
            partial(training(16), seed=1),
            partial(pretraining(16), seed=1),
        ):
            if name == "nan":
                with pytest.raises(InputError, match="NaN"):
                    prepare(image)
                continue
            found = prepare(image)
            assert found.shape == (3, 16, 16), name
            assert torch.isfinite(found).all(), name
    with pytest.raises(InputError, match="elongated"):
        evaluation(16)(Image(array=np.zeros((2, 1000), np.uint8)))


def test_black_and_white_come_out_as_imagenets() -> None:
    for image, value in ((odd_images()["black"], 0.0), (odd_images()["white"], 1.0)):
        found = evaluation(16)(image).mean((1, 2)).tolist()
        for number, mean, std in zip(found, IMAGENET_MEAN, IMAGENET_STD, strict=True):
            assert math.isclose(number, (value - mean) / std, abs_tol=1e-5)


def test_examples_are_prepared() -> None:
    assert all(training(16)(image, 0).shape == (3, 16, 16) for image in example_images())
