"""The model from a user's side: files, settings, normalisations, what is refused."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import omlab
from omlab.errors import InputError, SettingsError, TrainingError, WeightsError, WeightsWarning
from omlab.roles import About
from omlab_image import Image
from omlab_retfound.images import transform
from omlab_retfound.mae import DecoderConfig, MaskedAutoencoder, untrained_autoencoder
from omlab_retfound.model import TINY, TINY_DECODER
from omlab_retfound.retarget import with_decoder, with_head
from omlab_retfound.vit import RetFound, VitConfig, untrained

SMALL = VitConfig(size=64, patch=16, width=64, depth=2, heads=1)


def picture(*, shape: tuple[int, ...] = (90, 80, 3), seed: int = 0) -> Image:
    return Image(array=np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8))


def saved(network: torch.nn.Module, path: Path, *, wrapper: str = "model") -> Path:
    """As upstream's trainers save: beside optimizer, epoch and arguments."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    torch.save({wrapper: network.state_dict(), "epoch": 3, "args": argparse.Namespace(nb_classes=3)}, path)
    return path


def test_a_pretrained_file_of_any_size_embeds_as_its_network(tmp_path: Path) -> None:
    network = untrained_autoencoder(SMALL, decoder=DecoderConfig(width=32, depth=1, heads=1))
    path = saved(network, tmp_path / "RETFound_mae_natureCFP.pth")
    session = omlab.load_model("retfound-mae", weights=path)
    image = picture()
    vector: Any = session.embed(image)
    with torch.no_grad():
        wanted = network.features(transform("mae", size=64, normalisation="evaluation")(image)[None])[0]
    np.testing.assert_allclose(vector.vector, wanted.numpy(), atol=1e-5)
    token: Any = omlab.load_model("retfound-mae", weights=path, settings={"pool": "token"}).embed(image)
    assert not np.allclose(token.vector, vector.vector, atol=1e-2)


def test_the_two_normalisations_give_features_that_say_which_they_are() -> None:
    image = picture()
    found: dict[str, Any] = {
        name: omlab.load_model("retfound-tiny", settings={"normalisation": name}).embed(image)
        for name in ("evaluation", "standardised")
    }
    assert {name: one.model for name, one in found.items()} == {
        "evaluation": "retfound-tiny (evaluation)",
        "standardised": "retfound-tiny (standardised)",
    }
    assert not np.allclose(found["evaluation"].vector, found["standardised"].vector, atol=1e-3)


def test_a_published_classifier_tells_classes_by_both_head_forms(tmp_path: Path) -> None:
    network = untrained(replace(SMALL, classes=3))
    path = saved(network, tmp_path / "checkpoint-best.pth")
    image = picture()
    with pytest.warns(WeightsWarning, match=r"checkpoint-best\.pth does not tell how often its head norms"):
        session = omlab.load_model("retfound-classifier", weights=path)
    once: Any = session.predict(image)
    assert once.names == ("class 0", "class 1", "class 2")
    seen = transform("mae", size=64, normalisation="evaluation")(image)[None]
    with torch.no_grad():
        features = network.features(seen)
        wanted = {
            "single": network.head(features).softmax(1)[0],
            "double": network.head(network.fc_norm(features)).softmax(1)[0],
        }
    for norm, probabilities in wanted.items():
        settings = {"head_norm": norm, "classes": ["no", "mild", "severe"]}
        found: Any = omlab.load_model("retfound-classifier", weights=path, settings=settings).predict(image)
        assert found.names == ("no", "mild", "severe")
        np.testing.assert_allclose(found.probabilities, probabilities.numpy(), atol=1e-5)
    np.testing.assert_allclose(once.probabilities, wanted["single"].numpy(), atol=1e-5)
    assert not torch.allclose(wanted["single"], wanted["double"], atol=1e-3)


def test_what_does_not_fit_is_said_in_one_sentence(tmp_path: Path) -> None:
    classifier = saved(untrained(replace(SMALL, classes=3)), tmp_path / "c.pth")
    encoder = saved(untrained_autoencoder(SMALL, decoder=DecoderConfig(width=32, depth=1, heads=1)), tmp_path / "e.pth")
    with pytest.raises(WeightsError, match=r"c\.pth holds a classifier of 3 classes.*load it as retfound-classifier"):
        omlab.load_model("retfound-mae", weights=classifier)
    with pytest.raises(WeightsError, match=r"e\.pth holds an encoder.*load it as retfound-mae and adapt it"):
        omlab.load_model("retfound-classifier", weights=encoder)
    with pytest.raises(WeightsError, match=r"e\.pth holds an encoder of the MAE form.*load it as retfound-mae"):
        omlab.load_model("retfound-dinov2", weights=encoder)
    with pytest.raises(SettingsError, match="tells 3 classes, but the setting 'classes' names 2"):
        omlab.load_model("retfound-classifier", weights=classifier, settings={"classes": ["a", "b"]})
    with pytest.raises(SettingsError, match="size is 70, but must be a multiple of the patch, 16"):
        omlab.load_model("retfound-mae", weights=encoder, settings={"size": 70})
    with pytest.raises(SettingsError, match="size is 70, but must be a multiple of the patch, 8"):
        omlab.load_model("retfound-tiny", settings={"size": 70})


def test_an_image_with_pixels_that_are_no_numbers_is_refused() -> None:
    array = np.full((20, 20), np.nan, np.float32)
    with pytest.raises(InputError, match="NaN"):
        omlab.load_model("retfound-tiny").embed(Image(array=array))


def test_the_crop_takes_the_circle_of_the_retina() -> None:
    rows, columns = np.mgrid[:120, :200]
    disc = (rows - 60) ** 2 + (columns - 100) ** 2 < 50**2
    array = np.where(disc[..., None], 120 + 100 * np.sin(rows / 5)[..., None], 0).astype(np.uint8).repeat(3, 2)
    wide = Image(array=array)
    close = Image(array=array[10:111, 50:151])
    session = omlab.load_model("retfound-tiny", settings={"crop": "fundus"})
    first, second = (session.embed(image).vector for image in (wide, close))  # type: ignore[attr-defined]
    uncut: Any = omlab.load_model("retfound-tiny").embed(wide)
    assert np.abs(first - second).max() < 0.3 * np.abs(first - uncut.vector).max()


def test_a_head_is_new_and_the_encoder_is_kept() -> None:
    before = untrained_autoencoder(TINY, decoder=TINY_DECODER, seed=3)
    after = with_head(before, classes=4, drop_path=0.1, seed=1)
    assert (after.config.classes, after.config.drop_path, after.config.head_norm) == (4, 0.1, "single")
    assert after.head.weight.abs().max() < 1e-4
    own = before.state_dict()
    for key, value in after.state_dict().items():
        assert key.startswith(("head.", "fc_norm.")) or torch.equal(value, own[key]), key
    assert after.pos_embed.requires_grad
    again = with_head(after, classes=2, drop_path=0.0, seed=1)
    assert torch.equal(again.blocks[0].attn.qkv.weight, own["blocks.0.attn.qkv.weight"])


def test_a_decoder_is_kept_or_drawn_with_a_warning() -> None:
    whole = untrained_autoencoder(TINY, decoder=TINY_DECODER)
    kept = with_decoder(whole, ratio=0.85, normalise=False, seed=0)
    assert (kept.ratio, kept.normalise) == (0.85, False)
    assert kept is not whole
    assert whole.ratio == 0.75
    with pytest.warns(WeightsWarning, match="no decoder"):
        drawn = with_decoder(untrained(TINY), ratio=0.75, normalise=True, seed=0)
    assert isinstance(drawn, MaskedAutoencoder)
    with pytest.raises(TrainingError, match="fine-tuned"):
        with_decoder(untrained(replace(TINY, classes=2)), ratio=0.75, normalise=True, seed=0)


def test_data_with_fewer_than_two_classes_are_refused() -> None:
    model: Any = omlab.load_model("retfound-tiny").model
    about = About(inputs={"image": "image"}, target="classes", classes={0: "only"})
    with pytest.raises(TrainingError, match="names 1 classes"):
        model.retarget("classification", about, settings={"drop_path": 0.0, "multi_label": False}, seed=0)


def test_drawing_a_network_leaves_the_random_state_of_others_alone() -> None:
    state = torch.get_rng_state()
    first, second = untrained(SMALL, seed=1), untrained(SMALL, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(first, RetFound)
    assert torch.equal(first.pos_embed, second.pos_embed)
