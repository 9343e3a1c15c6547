"""Slide models on the way of a user: a table of bags, training, evaluation, heat maps; slides by a named encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import omlab
from omlab.errors import InputError, OmlabError, OmlabWarning, TrainingError, UsageError, WeightsError
from omlab.models import find_card
from omlab.session import Session
from omlab.weights import save_state_dict
from omlab_payloads.classes import Classes
from omlab_payloads.embedding import Embedding
from omlab_payloads.scores import Scores
from omlab_slide.bag import Bag, Bags
from omlab_slide.encoding import SlideEncoder
from omlab_slide.heat import HeatMap
from omlab_slide.heat.patches import HeatPatches
from omlab_slide.mil.clam import Clam, ClamConfig
from omlab_slide.mil.origin import Origin
from omlab_slide.testing import write_pyramid

WIDTH = 8
TINY = {"model.size": "tiny"}


def bag_of(count: int, *, planted: bool = False, seed: int = 0, width: int = WIDTH, encoder: str = "toy") -> Bag:
    """Patches of noise, side by side; of a planted bag the first fifth is far away along the first axis."""
    draws = np.random.default_rng(seed)
    features = draws.normal(size=(count, width)).astype(np.float32)
    if planted:
        features[: max(1, count // 5), 0] += 6
    coords = np.stack([np.arange(count) % 8, np.arange(count) // 8], axis=1).astype(np.int32) * 64
    return Bag(
        features=features,
        coords=coords,
        share=np.ones(count, np.float16),
        size0=64,
        dimensions=(1024, 1024),
        mpp=0.5,
        size=256,
        target_mpp=0.5,
        encoder={"name": encoder},
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twenty bags of different sizes in two classes, and when the event was."""
    lines = ["id,bag,target,group,split"]
    times = ["id,bag,target:scores,group,split"]
    for number in range(20):
        planted = number % 2 == 1
        omlab.write(bag_of(1 + 3 * number, planted=planted, seed=number), tmp_path / f"s{number}.bag.zarr")
        side = ("train", "train", "train", "val", "test")[number // 2 % 5]
        lines.append(f"s{number},s{number}.bag.zarr,{('normal', 'tumour')[planted]},p{number},{side}")
        told = json.dumps({"time": 100 + number if planted else 900 + number, "event": 1}).replace('"', '""')
        times.append(f's{number},s{number}.bag.zarr,"{told}",p{number},{side}')
    (tmp_path / "times.csv").write_text("\n".join(times))
    (tmp_path / "slides.csv").write_text("\n".join(lines))
    return tmp_path / "slides.csv"


def adapted(table: Path, model: str, output: str, recipe: str = "mil", **settings: Any) -> omlab.Session:
    more = {name.replace("__", "."): value for name, value in settings.items()}
    chosen = {**TINY, "epochs": 8, "learning_rate": 0.02, "model.dropout": 0.0, "workers": 0, **more}
    folder = table.parent / output
    omlab.adapt(model, f"cases:{table}", recipe=recipe, output=folder, settings=chosen)
    return omlab.load_model(folder)


@pytest.mark.parametrize("model", ["abmil", "clam-sb", "clam-mb", "mil-fc"])
def test_a_planted_signal_is_learned_and_pointed_at(table: Path, model: str) -> None:
    more = {"model__size": "small", "learning_rate": 0.002, "epochs": 25} if model == "mil-fc" else {}
    session = adapted(table, model, "mil", batch_size=3, **more)
    bags = [bag_of(40, planted=planted, seed=100 + planted) for planted in (False, True)]
    answers = session.apply("predict", [{"bag": bag} for bag in bags])
    shares = [answer.probabilities[1] for answer in answers if isinstance(answer, Classes)]
    assert shares[0] < 0.5 < shares[1]
    heat = session.explain(bags[1], target="tumour")
    assert isinstance(heat, HeatMap)
    assert len(heat) == 40
    if model != "clam-mb":  # which of its two attentions finds the signal is not settled in so few steps
        assert set(np.argsort(heat.scores)[-8:]) == set(range(8))


@pytest.mark.slow
def test_the_commands_of_the_readme_run(table: Path) -> None:
    header, *rows = table.read_text().replace(".bag.zarr", ".svs").splitlines()
    assert header == "id,bag,target,group,split"
    table.write_text("\n".join(["slide,label,patient,split", *(row.partition(",")[2] for row in rows)]))
    adapted(table, "abmil", "mil", batch_size=3)
    report = omlab.evaluate(table.parent / "mil", f"cases:{table}", output=table.parent / "report")
    assert report.is_whole
    heat = omlab.apply_verb(
        "explain", table.parent / "mil", [table.parent / "s3.bag.zarr"], output=table.parent / "heat"
    )
    assert heat.is_whole


def test_survival_is_told_in_probabilities_that_fall_with_time(table: Path) -> None:
    session = adapted(table.parent / "times.csv", "clam-sb", "late", recipe="survival", times=[500, 950])
    early, late = session.predict(bag_of(40, planted=True, seed=7)), session.predict(bag_of(40, seed=8))
    assert isinstance(early, Scores)
    assert isinstance(late, Scores)
    assert early.values["risk"] > late.values["risk"]
    assert list(early.values) == ["risk", "survival@500", "survival@950"]
    assert early.values["survival@500"] >= early.values["survival@950"]


def test_several_slides_are_one_bag_or_the_mean_of_their_logits(table: Path) -> None:
    folder = adapted(table, "abmil", "mil").name
    first, second = bag_of(5, seed=1), bag_of(9, seed=2, planted=True)
    both = Bag.stack([first, second])
    assert isinstance(both, Bags)
    packed = omlab.load_model(table.parent / folder)
    apart = omlab.load_model(table.parent / folder, settings={"several": "logits"})
    together = np.concatenate([first.features, second.features])
    one = bag_of(14)
    one.features[:] = together
    assert packed.predict(both).probabilities == pytest.approx(packed.predict(one).probabilities, rel=1e-5)  # type: ignore[attr-defined]
    logits = [np.log(apart.predict(bag).probabilities) for bag in (first, second)]  # type: ignore[attr-defined]
    mean = np.exp(np.mean(logits, axis=0))
    assert apart.predict(both).probabilities == pytest.approx(mean / mean.sum(), rel=1e-5)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="2 slides"):
        packed.explain(both)


@pytest.mark.slow
def test_training_is_the_same_again_and_takes_draws_of_patches(table: Path) -> None:
    parts = [adapted(table, "clam-mb", name, epochs=2, patches=6).model.module.state_dict() for name in ("a", "b")]  # type: ignore[attr-defined]
    assert all(torch.equal(value, parts[1][name]) for name, value in parts[0].items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 5}, "features of 5 numbers.* takes 8"),
        ({"nan": True}, "NaN or infinite"),
    ],
)
def test_features_that_do_not_fit_are_one_sentence(table: Path, change: Mapping[str, Any], said: str) -> None:
    session = omlab.load_model("clam-sb.untrained", settings={"features": WIDTH, "size": "tiny"})
    bag = bag_of(4, width=change.get("width", WIDTH))
    if "nan" in change:
        bag.features[0, 0] = np.nan
    with pytest.raises(InputError, match=said):
        session.predict(bag)


def test_features_of_another_encoder_are_warned_about(table: Path) -> None:
    session = adapted(table, "mil-fc", "mil", epochs=1)
    assert session.model.origin == Origin(encoder="toy", patch=256, mpp=0.5)  # type: ignore[attr-defined]
    with pytest.warns(OmlabWarning, match="features of other, but this model was trained on those of toy"):
        session.predict(bag_of(4, encoder="other"))


@pytest.mark.parametrize(
    ("patch", "mpp", "said"),
    [
        (64, 0.5, "patches of 64 pixels at 0.5 um a pixel, .* trained on patches of 256 pixels at 0.5 um a pixel"),
        (256, 1.0, "patches of 256 pixels at 1 um a pixel, .* trained on patches of 256 pixels at 0.5 um a pixel"),
        (256, 0.52, ""),  # one objective on two scanners
        (0, None, ""),  # not known, as of CLAM's features alone
    ],
)
def test_patches_of_another_size_or_scale_are_warned_about(patch: int, mpp: float | None, said: str) -> None:
    session = omlab.load_model("mil-fc.untrained", settings={"features": WIDTH, "size": "tiny"})
    session.model.origin = Origin(patch=256, mpp=0.5)  # type: ignore[attr-defined]  # what bags for training say
    asked = replace(bag_of(4), size=patch, target_mpp=mpp)
    with pytest.warns(OmlabWarning, match=said) if said else nullcontext():
        session.explain(asked)


def test_what_bags_do_not_share_is_not_known_of_them_all() -> None:
    both = Origin.shared([Origin(encoder="a", patch=256, mpp=0.5), Origin(encoder="a", patch=512)])
    assert both == Origin(encoder="a")


def test_a_table_of_bags_of_two_encoders_is_refused(table: Path, tmp_path: Path) -> None:
    omlab.write(bag_of(4, encoder="other"), tmp_path / "other.bag.zarr")
    table.write_text(table.read_text() + "\nother,other.bag.zarr,normal,p99,train\n")
    with pytest.raises(OmlabError, match=r"different encoders: toy \(s0\), other \(other\)"):
        adapted(table, "clam-sb", "mil")


def test_times_must_rise(table: Path) -> None:
    with pytest.raises(OmlabError, match="times is 9, 5: say the ends of the intervals"):
        adapted(table.parent / "times.csv", "clam-sb", "late", recipe="survival", times=[9, 5])


def published(*, old: bool, config: ClamConfig) -> dict[str, Tensor]:
    """A checkpoint as CLAM wrote them: the buffer of the instance loss; older ones with the attention at index 2."""
    state = dict(Clam(config).state_dict())
    if old:
        state = {name.replace("attention_net.3.", "attention_net.2."): value for name, value in state.items()}
    return state | {"instance_loss_fn.labels": torch.zeros(2)}


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("branches", ["single", "multi"])
def test_published_checkpoints_load_and_are_sized_by_their_shapes(tmp_path: Path, branches: str, gate: bool) -> None:
    config = ClamConfig(embed_dim=6, n_classes=3, branches=branches, size="big", gate=gate, dropout=0.0)
    state = published(old=True, config=config)
    save_state_dict(state, tmp_path / "s_0_checkpoint.safetensors")
    name = {"single": "clam-sb", "multi": "clam-mb"}[branches]
    session = omlab.load_model(name, weights=tmp_path / "s_0_checkpoint.safetensors")
    own = session.model.module.state_dict()  # type: ignore[attr-defined]
    assert torch.equal(own["attention_net.0.weight"], state["attention_net.0.weight"])
    assert session.predict(bag_of(4, width=6)).names == ("class 0", "class 1", "class 2")  # type: ignore[attr-defined]
    other = {"clam-sb": "clam-mb", "clam-mb": "clam-sb"}[name]
    with pytest.raises(WeightsError, match="holds no network of this kind"):
        omlab.load_model(other, weights=tmp_path / "s_0_checkpoint.safetensors")


def test_one_that_was_trained_before_keeps_its_weights_but_for_the_classes(table: Path) -> None:
    first = adapted(table, "abmil", "first", epochs=2)
    again = first.model.retarget(  # type: ignore[attr-defined]
        "mil", omlab.About(inputs={"bag": "bag"}, classes={0: "a", 1: "b"}), settings={}, seed=1
    )
    before, after = first.model.module.state_dict(), again.module.state_dict()  # type: ignore[attr-defined]
    assert torch.equal(before["embed.0.weight"], after["embed.0.weight"])
    assert not torch.equal(before["head.weight"], after["head.weight"])
    with pytest.raises(TrainingError, match="1 classes"):
        first.model.retarget("mil", omlab.About(inputs={}, classes={0: "a"}), settings={}, seed=1)  # type: ignore[attr-defined]


def test_a_slide_without_an_encoder_says_what_to_do(tmp_path: Path) -> None:
    session = omlab.load_model("clam-sb.untrained", settings={"features": WIDTH, "size": "tiny"})
    slide = omlab.read(write_pyramid(tmp_path / "a.tiff"), kind="bag")
    with pytest.raises(UsageError, match="--need encoder=slide-features"):
        session.predict(slide)


def test_learning_from_a_table_of_slides_says_that_they_are_embedded_first(tmp_path: Path) -> None:
    write_pyramid(tmp_path / "a.tiff")
    (tmp_path / "slides.csv").write_text("id,slide,target\na,a.tiff,x\nb,a.tiff,y\n")
    with pytest.raises(OmlabError, match=r"a\.tiff is a slide, .* embed it first"):
        omlab.adapt("abmil", f"cases:{tmp_path / 'slides.csv'}", recipe="mil", output=tmp_path / "mil")


class Flat:
    """A toy encoder: eight times the mean of a patch."""

    def embed(self, batch: Any, /) -> list[Embedding]:
        return [Embedding(vector=np.full(WIDTH, one["image"].array.mean() / 255, np.float32)) for one in batch]


def test_a_slide_is_encoded_by_the_encoder_that_is_named(tmp_path: Path) -> None:
    settings = {"mpp": 1.0, "patch": 64, "overlap": 0, "least_share": 0.25, "tissue": "saturation"}
    slides = Session(
        SlideEncoder(Flat(), settings=settings), card=find_card("slide-features"), identity={}, name="flat"
    )
    session = omlab.load_model("clam-sb.untrained", settings={"features": WIDTH, "size": "tiny"})
    session.model.slides = slides  # type: ignore[attr-defined]  # what --need encoder= hands over
    slide = omlab.read(write_pyramid(tmp_path / "a.tiff"), kind="bag")
    heat = session.explain(slide)
    assert isinstance(heat, HeatMap)
    assert heat.dimensions == (2048, 1536)
    HeatPatches().write(heat, tmp_path / "a.patches.png", inputs={"bag": slide})
    assert (tmp_path / "a.patches.png").stat().st_size > 1000
    assert sum(session.predict(slide).probabilities) == pytest.approx(1)  # type: ignore[attr-defined]
    session.model.slides = omlab.load_model("abmil.untrained")  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="makes no bags of slides: name its form for slides"):
        session.predict(slide)
