from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import omlab
from omlab.card_schema import ModelCard, validate
from omlab.cards import read_cards
from omlab.errors import (
    GeometryError,
    InputError,
    OmlabError,
    OmlabWarning,
    SettingsError,
    TrainingError,
    UsageError,
    WeightsError,
)
from omlab.roles import About
from omlab.session import Session
from omlab.settings import complete
from omlab.weights import resolve, save_state_dict
from omlab.weights.sources import parse
from omlab_prompts.prompts import Prompts, Space
from omlab_prompts.simulation import Simulation
from omlab_prompts.testing import prompts_for
from omlab_sammed3d.model import TINY, SamMed3dModel, load
from omlab_sammed3d.network import SamMed3dConfig, untrained
from omlab_volume.testing import example_labelmaps, example_volumes
from omlab_volume.volume import LabelMap, Source, Volume

pytestmark = pytest.mark.filterwarnings("ignore::omlab.gates.DoubtWarning")  # drawn volumes are no anatomy

CARDS = {card.name: cast(ModelCard, validate(card)) for card in read_cards("omlab_sammed3d", "model")}
RECIPE = CARDS["sammed3d-tiny"].trains["clicks"]
ABOUT = About(inputs={"volume": "volume"}, target="labelmap", classes={1: "organ", 2: "bone"}, cases=3)


def build(
    name: str = "sammed3d-tiny", *, weights: Path | None = None, config: Any = None, **settings: Any
) -> SamMed3dModel:
    card = CARDS[name]
    chosen = complete(card.settings, settings, of=name)
    given = resolve(card, "untrained", weights=weights)
    return load(card, weights=given, needs={}, device="cpu", settings=chosen, config=config)


def settings_of(**given: Any) -> dict[str, Any]:
    return complete(RECIPE.settings, {"epochs": 1, "steps_per_epoch": 1, "cubes": 1, **given}, of="clicks")


def retargeted(model: SamMed3dModel | None = None, of: About = ABOUT, **settings: Any) -> SamMed3dModel:
    return (model or build()).retarget("clicks", of, settings=settings_of(**settings), seed=0)


def saved(path: Path, **changes: Any) -> Path:
    config = SamMed3dConfig(**{**vars(TINY), **changes})
    torch.save({"model_state_dict": untrained(config, seed=3).state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def session() -> Session:
    return omlab.load_model("sammed3d-tiny.untrained", device="cpu")


@pytest.fixture(scope="module")
def no_boxes(session: Session) -> Session:
    """A session by the card of `sammed3d`, which takes points alone."""
    return Session(session.model, card=CARDS["sammed3d"], identity={}, name="sammed3d")


def click(*at: float, **changes: Any) -> Prompts:
    content = {"space": "voxel", "image": "ct.nii", "objects": [{"name": "organ", "points": [{"at": at}]}]}
    return Prompts.model_validate(content | changes)


def from_file(volume: Volume, *paths: str, folder: str | None = None, format: str = "nifti") -> Volume:
    source = Source(format=format, paths=tuple(map(Path, paths)), folder=Path(folder) if folder else None)
    return Volume(array=volume.array, affine=volume.affine, intensity=volume.intensity, source=source)


def test_the_cards_have_the_published_files_at_addresses_that_can_be_fetched() -> None:
    files = [file for card in CARDS.values() for weights in card.weights.values() for file in weights.files]
    assert len({file.url for file in files}) == len({file.name for file in files}) == len(files) == 7
    for file in files:
        assert file.wrapper == "model_state_dict"
        parse(file.url)


def only(prompts: Prompts, *facets: str) -> Prompts:
    """The prompts without those of other sorts."""
    gone = dict.fromkeys(prompts.facets() - set(facets), ())
    return prompts.model_copy(update={"objects": tuple(entry.model_copy(update=gone) for entry in prompts.objects)})


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("space", ["ras", "lps"])
def test_positions_in_the_world_are_those_in_voxels(session: Session, index: int, space: Space) -> None:
    volume, target = example_volumes()[index], example_labelmaps()[index]
    prompts = (only(prompts_for(volume, target, space=one), "points") for one in ("voxel", space))
    voxels, labels = (cast(LabelMap, session.predict(volume, prompts=given)) for given in prompts)
    assert labels.same_grid(volume)
    assert [(label.value, label.name) for label in labels.labels] == [(1, "organ"), (2, "bone")]
    assert labels.array.any()
    assert np.array_equal(labels.array, voxels.array)


def test_a_box_is_another_prompt_than_a_click(session: Session) -> None:
    volume, target = example_volumes()[0], example_labelmaps()[0]
    found = [
        cast(LabelMap, session.predict(volume, prompts=only(prompts_for(volume, target), *facets))).array
        for facets in (("points",), ("boxes",), ("points", "boxes"))
    ]
    assert not any(np.array_equal(one, other) for one, other in zip(found, found[1:] + found[:1], strict=True))


def test_a_case_that_fails_leaves_the_others_of_its_batch(session: Session) -> None:
    volume, other = example_volumes()[0], example_volumes(channels=2)[0]
    prompts = click(8, 9, 5)
    late = click(8, 9, 5, objects=[{"name": "a", "points": [{"at": [1, 1, 1], "label": 0}]}])
    batch = [
        {"volume": volume, "prompts": prompts},
        {"volume": other, "prompts": prompts},
        {"volume": volume, "prompts": late},
        {"volume": volume, "prompts": prompts},
    ]
    first, second, third, last = session.apply("predict", batch)
    assert (type(second), type(third)) == (InputError, UsageError)
    assert np.array_equal(cast(LabelMap, first).array, cast(LabelMap, last).array)


BOX = {"name": "a", "boxes": [{"near": [1, 1, 1], "far": [9, 9, 9]}]}


@pytest.mark.parametrize(
    ("prompts", "error", "words"),
    [
        (click(99, 0, 0), GeometryError, r"lies outside ct\.nii: voxel \(99\.0, 0\.0, 0\.0\) of a grid of"),
        (click(999, 0, 0, space="ras", image=None), GeometryError, r"lies outside ct\.nii: .* the space 'ras'"),
        (click(1, 1, 1, image="mr.nii"), GeometryError, r"voxels of mr\.nii, not of ct\.nii: give them in world"),
        (
            click(1, 1, 1, objects=[{"name": "a", "text": ["liver"]}]),
            UsageError,
            "takes no text in 'prompts'; it takes",
        ),
        (click(1, 1, 1, objects=[{"name": "a", "masks": [{"file": "a.nii"}]}]), UsageError, "takes no masks"),
        (click(1, 1, 1, objects=[BOX]), UsageError, "'sammed3d' takes no boxes in 'prompts'; it takes points"),
        (None, UsageError, r"'sammed3d' needs the input 'prompts', a prompts \(points\): give prompts=FILE"),
    ],
)
def test_wrong_prompts_are_one_sentence(
    no_boxes: Session, prompts: Prompts | None, error: type[OmlabError], words: str
) -> None:
    volume = from_file(example_volumes()[0], "data/ct.nii")
    with pytest.raises(error, match=words) as caught:
        no_boxes.predict(volume, prompts=prompts)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    "content", [{}, {"objects": []}, {"objects": [{"name": "a"}]}, {"objects": [{"name": "a", "points": []}]}]
)
def test_no_prompts_at_all_are_one_sentence(content: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="These are no prompts: "):
        Prompts.from_value({"space": "ras", **content})


@pytest.mark.parametrize("image", ["series", "b.dcm", "/data/series/a.dcm"])
def test_voxels_of_a_series_may_name_a_file_or_the_folder(session: Session, image: str) -> None:
    volume = from_file(example_volumes()[0], "/d/series/a.dcm", "/d/series/b.dcm", folder="/d/series", format="dicom")
    assert cast(LabelMap, session.predict(volume, prompts=click(8, 9, 5, image=image))).array.any()
    with pytest.raises(GeometryError, match="not of series"):
        session.predict(volume, prompts=click(8, 9, 5, image="ct.nii"))


def test_another_payload_is_refused(session: Session) -> None:
    with pytest.raises(UsageError, match="is a volume, but a labelmap was given"):
        session.predict(volume=example_labelmaps()[0], prompts=click(8, 9, 5))


def test_further_clicks_through_a_session_do_not_encode_again(session: Session) -> None:
    encoded: list[int] = []
    encoder = cast(SamMed3dModel, session.model).module.image_encoder
    hook = encoder.register_forward_hook(lambda *_: encoded.append(1))
    volume = example_volumes()[0]
    at = (volume.affine @ [8, 9, 5, 1])[:3].tolist()
    points = [{"at": at}, {"at": at, "label": 0}]
    labels = []
    for count in (1, 2):
        prompts = click(space="ras", image=None, objects=[{"name": "organ", "points": points[:count]}])
        labels.append(cast(LabelMap, session.predict(volume, prompts=prompts)).array)
        if count == 1:
            before = len(encoded)
    hook.remove()
    assert before == len(encoded) > 0
    assert not np.array_equal(*labels)


def test_trained_weights_encode_again() -> None:
    model = build()
    volume, prompts = example_volumes()[0], click(8, 9, 5)

    def predicted() -> np.ndarray:
        (found,) = model.predict([{"volume": volume, "prompts": prompts}])
        return cast(LabelMap, found).array

    first = predicted()
    model.module.train()
    with torch.no_grad():
        for parameter in model.module.image_encoder.parameters():
            parameter.mul_(-3)
    assert not np.array_equal(first, predicted())
    assert not model.module.training


def simulated(session: Session, *, clicks: int = 2, seed: int = 0, index: int = 0) -> Simulation:
    found = session.simulate(
        volume=example_volumes()[index], reference=example_labelmaps()[index], clicks=clicks, seed=seed
    )
    return cast(Simulation, found)


def test_simulated_clicks_give_their_prediction_again(session: Session) -> None:
    found = simulated(session, index=1)
    again = session.predict(example_volumes()[1], prompts=found.prompts)
    assert np.array_equal(cast(LabelMap, found.prediction).array, cast(LabelMap, again).array)
    assert set(found.parts()) == {"prediction", "prompts", "clicks"}
    assert [(row["object"], row["round"]) for row in found.scores.rows] == [
        ("organ", 1),
        ("bone", 1),
        ("organ", 2),
        ("bone", 2),
    ]


def test_simulating_begins_at_what_another_model_found(session: Session) -> None:
    volume, reference = example_volumes()[0], example_labelmaps()[0]
    moved = np.where(reference.array == 1, 1, 0).astype(np.uint8)[::-1]  # the organ elsewhere, the bone nowhere
    other = replace(reference, array=np.ascontiguousarray(moved))
    found = cast(Simulation, session.simulate(volume=volume, reference=reference, found=other, clicks=1))
    assert [(row["object"], row["first"]) for row in found.scores.rows] == [("organ", "found"), ("bone", "reference")]
    begun, plain = (one.prompts.objects for one in (found, simulated(session, clicks=1)))
    assert begun[1] == plain[1]
    voxel = np.linalg.inv(volume.affine) @ np.array([*begun[0].points[0].at, 1])
    assert other.array[tuple(voxel.round().astype(int)[:3])] == 1


def test_simulating_has_its_number_and_seed_as_options(session: Session) -> None:
    assert simulated(session, clicks=1).prompts == simulated(session, clicks=1).prompts
    assert simulated(session, clicks=1, seed=1).prompts != simulated(session, clicks=1).prompts
    default = cast(Simulation, session.simulate(volume=example_volumes()[0], reference=example_labelmaps()[0]))
    assert len(default.prompts.objects[0].points) == 5
    with pytest.raises(SettingsError, match="clicks"):
        session.simulate(volume=example_volumes()[0], reference=example_labelmaps()[0], clicks=0)


def test_clicks_are_simulated_by_the_rule_of_the_setting() -> None:
    runs = [simulated(omlab.load_model("sammed3d-tiny", settings={"rule": rule})) for rule in ("ritm", "random")]
    assert runs[0].prompts != runs[1].prompts


def test_references_that_cannot_be_clicked_on_fail_their_case_alone(session: Session) -> None:
    volume, reference = example_volumes()[0], example_labelmaps()[0]
    empty = LabelMap(array=np.zeros_like(reference.array), affine=reference.affine)
    pairs: Sequence[LabelMap] = (empty, example_labelmaps()[1], reference)
    first, second, third = session.apply(
        "simulate", [{"volume": volume, "reference": target} for target in pairs], clicks=1
    )
    assert "nothing to click on" in str(first)
    assert "not on the grid of the volume" in str(second)
    assert isinstance(third, Simulation)


def test_a_file_with_boxes_is_refused_by_a_card_without_and_the_reverse(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"boxes\.pth holds a SAM-Med3D that takes boxes, .*load it as sammed3d-box"):
        build("sammed3d", weights=saved(tmp_path / "boxes.pth"))
    with pytest.raises(WeightsError, match="takes no boxes, unlike sammed3d-boxes: load it as sammed3d"):
        build("sammed3d-boxes", weights=saved(tmp_path / "plain.pth", point_embeddings=2))


def test_the_image_size_is_the_files_or_the_settings(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth")
    assert build(weights=path).module.config.image_size == 32
    assert build(weights=path, image_size=48).module.config.image_size == 48
    assert build(image_size=16).module.config.image_size == 16
    assert build(rel_pos="textbook").module.config.rel_pos == "textbook"
    with pytest.raises(SettingsError, match="20, but must be a multiple of 8"):
        build(image_size=20)


def test_another_spacing_than_that_of_published_weights_is_warned_about(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth")
    with pytest.warns(OmlabWarning, match=r"works at 3 mm, but its published weights were trained at 1.5 mm"):
        assert build(weights=path, spacing=3.0).spacing == 3
    assert build(spacing=3.0).spacing == 3  # untrained: nothing to do badly


def test_layers_name_every_parameter_once_from_input_to_head() -> None:
    model = build()
    names = [name for layer in model.layers() for name in layer]
    assert sorted(names) == sorted(name for name, _ in model.module.named_parameters())
    assert model.layers()[0][0].startswith("image_encoder.pos_embed")
    assert model.layers()[-1][-1].startswith("mask_decoder.")


def test_retargeting_is_a_copy_with_positions_of_its_own_size() -> None:
    model = build()
    adapted = retargeted(model, cube_size=24, cube_spacing=2.0)
    assert (adapted.module.config.image_size, adapted.spacing) == (24, 2.0)
    assert (model.module.config.image_size, model.spacing) == (32, 1.5)
    key = "mask_decoder.mask_tokens.weight"
    assert torch.equal(adapted.module.state_dict()[key], model.module.state_dict()[key])
    adapted.module.get_parameter(key).data.zero_()
    assert model.module.get_parameter(key).abs().sum() > 0


@pytest.mark.parametrize("kinds", [{"image": "image"}, {"t1": "volume", "t2": "volume"}, {}])
def test_data_that_cannot_be_learned_from_are_one_sentence(kinds: dict[str, str]) -> None:
    with pytest.raises(TrainingError, match="one volume a case, but these have"):
        retargeted(of=About(inputs=kinds, target="labelmap"))


def test_settings_that_do_not_fit_are_one_sentence() -> None:
    with pytest.raises(SettingsError, match="multiple of 8 voxels"):
        retargeted(cube_size=20)
    with pytest.raises(SettingsError, match="cube_spacing"):
        retargeted(cube_spacing=-1.0)


def test_an_adapted_model_comes_back_with_its_own_size_and_spacing(tmp_path: Path) -> None:
    adapted = retargeted(build(rel_pos="textbook"), cube_size=24, cube_spacing=2.0)
    save_state_dict(adapted.module.state_dict(), tmp_path / "weights.safetensors")
    again = build(weights=tmp_path / "weights.safetensors", config=json.loads(json.dumps(adapted.config())))
    assert again.module.config == adapted.module.config
    assert again.spacing == 2
    inputs = {"volume": example_volumes()[0], "prompts": click(8, 9, 5)}
    first, second = (cast(LabelMap, next(model.predict([inputs]))).array for model in (adapted, again))
    assert np.array_equal(first, second)


def test_a_damaged_config_is_one_sentence() -> None:
    config = build().config()
    for wrong in ({**config, "network": {"depth": 3}}, {"spacing": 1.5}, {**config, "network": None}):
        with pytest.raises(WeightsError, match="not one of an adapted SAM-Med3D"):
            build(config=wrong)
