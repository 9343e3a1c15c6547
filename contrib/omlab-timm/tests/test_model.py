"""Networks by name, with weights that the test makes; what timm does, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image as Pillow
from timm.data import create_transform, resolve_data_config

import omlab
from omlab.errors import SettingsError, WeightsError
from omlab.models import find_model
from omlab.weights import save_state_dict
from omlab_image import Image
from omlab_timm.network import build, layers_of, transform, undecayed, with_head

VIT, RESNET = "test_vit.r160_in1k", "test_resnet.r160_in1k"


def picture(*, shape: tuple[int, ...] = (190, 170, 3)) -> Image:
    return Image(array=np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))


def saved(name: str, path: Path, *, classes: int) -> Any:
    """A network with other weights than timm draws, and its file."""
    torch.manual_seed(7)
    network = timm.create_model(name, num_classes=classes).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    save_state_dict(network.state_dict(), path)
    return network


@pytest.mark.parametrize("name", [VIT, RESNET, "test_convnext.r160_in1k"])
@pytest.mark.parametrize("classes", [1000, 7, 0])
def test_a_file_with_any_head_or_none_embeds_as_timm_does(tmp_path: Path, name: str, classes: int) -> None:
    network = saved(name, tmp_path / "own.safetensors", classes=classes)
    session = omlab.load_model("timm", weights=tmp_path / "own.safetensors", settings={"model": name})
    image = picture()
    prepare = create_transform(**resolve_data_config({}, model=network))
    with torch.no_grad():
        tokens = network.forward_features(prepare(Pillow.fromarray(image.array))[None])
        wanted = network.forward_head(tokens, pre_logits=True)[0].numpy()
    found: Any = session.embed(image)
    assert found.model == f"timm/{name}"
    np.testing.assert_allclose(found.vector, wanted, atol=1e-5)
    assert not session.is_untrained


def test_the_picture_is_prepared_as_the_networks_own_configuration_says() -> None:
    for name in (VIT, "vit_base_patch16_clip_224.openai", "resnet18.a1_in1k"):
        with torch.device("meta"):
            network = timm.create_model(name)
        theirs = create_transform(**resolve_data_config({}, model=network))
        image = picture(shape=(300, 260, 3))
        ours = transform(network, size=0)(image)
        assert torch.equal(ours, theirs(Pillow.fromarray(image.array))), name


def test_the_address_of_the_weights_is_that_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMLAB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"hf://timm/vit_small_patch16_224\.dino/model\.safetensors@main"):
        omlab.load_model("timm")
    with pytest.raises(WeightsError, match=r"hf://timm/test_vit\.r160_in1k/"):
        omlab.load_model("timm", settings={"model": VIT})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("vit_smal_patch16_224.dino", r"did you mean 'vit_small_patch16_224\.dino"),
        ("vit_small_patch16_224.dinoo", r"has no weights 'dinoo' of .*: did you mean 'vit_small_patch16_224\.dino"),
        ("vit_small_patch16_224", r"without the name of its weights: name them, such as vit_small_patch16_224\."),
        ("coatnet_0_224", r"without the name of its weights: timm publishes none"),
        ("gcvit_tiny.in1k", r"not among timm's own on the Hub.*use --weights FILE"),
    ],
)
def test_a_network_that_cannot_be_had_is_told_before_anything_is_fetched(model: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        find_model("timm", settings={"model": model}, offline=True)


def test_a_network_for_other_pictures_is_refused() -> None:
    odd = [name for name in timm.list_models(pretrained=True) if _is_oblong(name)]
    with pytest.raises(SettingsError, match="only square pictures of 3 colours"):
        find_model("timm.untrained", settings={"model": odd[0]})


def _is_oblong(name: str) -> bool:
    size = timm.get_pretrained_cfg(name).input_size
    return bool(size[1] != size[2])


def test_another_networks_file_is_refused_with_its_keys(tmp_path: Path) -> None:
    saved(RESNET, tmp_path / "resnet.safetensors", classes=3)
    with pytest.raises(WeightsError, match=r"resnet\.safetensors does not fit 'test_vit\.r160_in1k'.*cls_token"):
        omlab.load_model("timm", weights=tmp_path / "resnet.safetensors", settings={"model": VIT})


def test_a_size_is_the_networks_or_refused(tmp_path: Path) -> None:
    saved(VIT, tmp_path / "own.safetensors", classes=0)
    session: Any = omlab.load_model("timm", weights=tmp_path / "own.safetensors", settings={"model": VIT, "size": 96})
    assert session.model.prepare("embed", {"image": picture()}).shape == (3, 96, 96)
    assert np.isfinite(session.embed(picture()).vector).all()
    free: Any = omlab.load_model("timm.untrained", settings={"model": RESNET, "size": 72})
    assert np.isfinite(free.embed(picture()).vector).all()


@pytest.mark.parametrize("name", [VIT, RESNET])
def test_layers_go_from_input_to_head_and_name_every_parameter_once(name: str) -> None:
    network = with_head(build(name), classes=3, seed=0)
    layers = layers_of(network)
    names = [parameter for layer in layers for parameter in layer]
    assert sorted(names) == sorted(parameter for parameter, _ in network.named_parameters())
    head = network.pretrained_cfg["classifier"]  # type: ignore[index]
    assert f"{head}.weight" in layers[-1]
    assert len(layers) > 2
    assert ("cls_token" in undecayed(network)) == (name == VIT)


def test_new_heads_are_drawn_from_the_seed_alone() -> None:
    heads = [with_head(build(VIT), classes=3, seed=seed).head.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
