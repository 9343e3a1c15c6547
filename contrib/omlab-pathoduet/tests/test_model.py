"""The model from a user's side: preprocessing, files, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import omlab
from omlab.errors import InputError, TrainingError, WeightsError, WeightsWarning
from omlab.roles import About
from omlab_image import Image
from omlab_pathoduet.moco import Moco
from omlab_pathoduet.model import TINY
from omlab_pathoduet.retarget import Plan
from omlab_pathoduet.scores import scores
from omlab_pathoduet.vit import PathoVit, untrained
from omlab_testkit import golden

GOLDEN = Path(__file__).resolve().parent / "golden" / "tiny_avg.json"
SETTINGS = {"temperature": 0.2, "bridge": 0.5, "ratio": 0.75, "multi_label": False}


def picture(*, shape: tuple[int, ...] = (90, 80, 3), seed: int = 0) -> Image:
    return Image(array=np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8))


def state(plan: Plan = TINY, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**plan.drawn(seed=3).state_dict(), **more}


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_pixels_reach_the_network_as_they_are(tmp_path: Path) -> None:
    """The preprocessing contract: an image of the golden pixels has the golden features, without normalisation."""
    case = json.loads(GOLDEN.read_text())
    path = saved(golden.draw_state(case) | {"pos_embed": untrained(TINY.vit).pos_embed.detach()}, tmp_path / "HE.pth")
    session: Any = omlab.load_model("pathoduet-tiny", weights=path, settings={"view": "whole"})
    pixels = golden.draw_inputs(case)["image"].permute(0, 2, 3, 1).contiguous().numpy()
    vectors = np.stack([session.embed(Image(array=one)).vector for one in pixels])
    errors = golden.compare(
        {"outputs": {"features": case["outputs"]["features"]}, "rtol": 1e-5}, {"features": torch.from_numpy(vectors)}
    )
    assert errors["features"] < 1e-5
    eight_bit: Any = session.embed(Image(array=np.rint(255 * pixels[0]).astype(np.uint8)))
    np.testing.assert_allclose(eight_bit.vector, vectors[0], atol=0.05)


def test_the_centre_is_upstreams_evaluation_and_the_maker_is_named_with_the_view() -> None:
    image = picture(shape=(64, 64, 3))
    centre: Any = omlab.load_model("pathoduet-tiny").embed(image)
    whole: Any = omlab.load_model("pathoduet-tiny", settings={"view": "whole"}).embed(image)
    assert (centre.model, whole.model) == ("pathoduet-tiny (centre)", "pathoduet-tiny (whole)")
    assert not np.allclose(centre.vector, whole.vector, atol=1e-3)


def test_normalised_pixels_are_refused() -> None:
    array = (picture().array / 255.0 - 0.5).astype(np.float32)
    with pytest.raises(InputError, match=r"values from -0.5 to .* without any normalisation"):
        omlab.load_model("pathoduet-tiny").embed(Image(array=array))


@pytest.mark.parametrize("form", ["published", "with training keys", "training checkpoint"])
def test_files_of_every_form_load(form: str, tmp_path: Path) -> None:
    own = state()
    if form == "published":
        content: Any = own
    elif form == "with training keys":
        content = {**own, "head.0.weight": torch.zeros(2, 64), "bridge_token": torch.zeros(1, 1, 64)}
    else:
        task: Any = replace(TINY, kind="moco").drawn(seed=5)
        task.base_encoder.load_state_dict(own, strict=False)
        content = {
            "epoch": 100,
            "arch": "vit_base",
            "state_dict": {f"module.{key}": value for key, value in task.state_dict().items()},
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        }
    session: Any = omlab.load_model("pathoduet-tiny", weights=saved(content, tmp_path / "c.pth"))
    found = session.model.module.state_dict()
    assert found.keys() == own.keys()
    assert all(torch.equal(found[key], value) for key, value in own.items())


def test_the_card_of_any_network_takes_what_the_file_tells(tmp_path: Path) -> None:
    vit = replace(TINY.vit, width=96, depth=2, heads=12, pool="token", stem="conv")
    path = saved(untrained(vit).state_dict(), tmp_path / "mine.pth")
    session: Any = omlab.load_model("pathoduet", weights=path)
    assert session.model.plan.vit == vit
    assert session.embed(picture()).vector.shape == (96,)


def test_what_does_not_fit_is_said_in_one_sentence(tmp_path: Path) -> None:
    other = saved(untrained(replace(TINY.vit, width=48)).state_dict(), tmp_path / "narrow.pth")
    with pytest.raises(WeightsError, match=r"narrow\.pth holds a network 48 wide.*pathoduet-tiny is 64 wide"):
        omlab.load_model("pathoduet-tiny", weights=other)
    plain = {key: value for key, value in state().items() if key != "pretext_token"}
    with pytest.raises(WeightsError, match=r"plain vision transformer.*no 'pretext_token'"):
        omlab.load_model("pathoduet-tiny", weights=saved(plain, tmp_path / "plain.pth"))
    lacking = {key: value for key, value in state().items() if not key.startswith("fc_norm.")}
    with pytest.raises(WeightsError, match=r"part\.pth is not a PathoDuet encoder.*no final norm"):
        omlab.load_model("pathoduet-tiny", weights=saved(lacking, tmp_path / "part.pth"))
    with pytest.raises(WeightsError, match=r"more\.pth does not fit PathoVit.*1 unexpected: surplus"):
        omlab.load_model("pathoduet-tiny", weights=saved(state(surplus=torch.zeros(1)), tmp_path / "more.pth"))
    old = replace(TINY, kind="multi-stain")
    with pytest.raises(WeightsError, match="older multi-stain autoencoder"):
        omlab.load_model("pathoduet-tiny", weights=saved(state(old), tmp_path / "p3.pth"))


def retargeted(recipe: str, model: Any, *, classes: tuple[str, ...] = ()) -> Any:
    about = About(inputs={"image": "image"}, target="classes", classes=dict(enumerate(classes)))
    return model.retarget(recipe, about, settings=SETTINGS, seed=1)


def test_the_encoder_goes_through_every_task_and_into_a_classifier() -> None:
    base: Any = omlab.load_model("pathoduet-tiny").model
    qkv = base.module.blocks[0].attn.qkv.weight
    moco = retargeted("moco", base)
    assert isinstance(moco.module, Moco)
    with torch.no_grad():
        moco.module.momentum_encoder.blocks[0].attn.qkv.weight.add_(1)
    scale = retargeted("cross-scale", moco)
    state, before = scale.module.state_dict(), moco.module.state_dict()
    assert all(torch.equal(state[key], value) for key, value in before.items())
    stain = retargeted("cross-stain", scale)
    assert torch.equal(stain.module.momentum_encoder.blocks[0].attn.qkv.weight, qkv + 1)
    painted = retargeted("multi-stain", stain)
    assert torch.equal(painted.module.blocks[0].attn.qkv.weight, qkv)
    classifier = retargeted("classification", painted, classes=("a", "b"))
    assert isinstance(classifier.module, PathoVit)
    assert torch.equal(classifier.module.blocks[0].attn.qkv.weight, qkv)
    image = torch.rand(2, 3, 64, 64)
    # the autoencoder's norms have another eps
    torch.testing.assert_close(painted.module.features(image), classifier.module.features(image), atol=2e-3, rtol=0)
    assert [len(model.layers()) for model in (moco, painted, classifier)] == [5, 5, 5]


def test_what_training_would_lose_is_said() -> None:
    base: Any = omlab.load_model("pathoduet-tiny").model
    with pytest.warns(WeightsWarning, match="no projection head"):
        retargeted("cross-stain", base)
    with pytest.raises(TrainingError, match="names 1 classes"):
        retargeted("classification", base, classes=("only",))
    classifier = retargeted("classification", base, classes=("a", "b"))
    with pytest.raises(TrainingError, match="fine-tuned to tell classes"):
        retargeted("moco", classifier)


def test_scores_are_those_of_the_tables() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    found = scores(probabilities, np.array([0, 1, 1, 2]))
    assert found["ACC"] == 0.75
    assert found["bACC"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["F1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found["wF1"] == pytest.approx((2 / 3 + 2 * 2 / 3 + 1) / 4)
