"""The toys in the jobs of core: files and tables in, results, adapted models and stores out."""

import csv
import json
import os
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import omlab
from omlab.errors import OmlabError, WeightsError
from omlab.weights import read_state_dict
from omlab_payloads.embeddings import open_embeddings

SIDES = ("left", "right")
IDS = [f"case-{number}" for number in range(10)]


def table(rows, name="list.csv"):
    with Path(name).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return f"cases:{name}"


def rows_of(path):
    with Path(path).open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def scans(toys):
    """Ten pictures that are bright on the left or on the right, and a function that makes a table of them."""
    toys.install("scans", "training", "classifier")
    kind = import_module("omlab_toy_scans.scan")
    draw = np.random.default_rng(0)
    for number, id in enumerate(IDS):
        array = draw.normal(0, 0.1, (8, 6, 1)).astype(np.float32)
        array[slice(0, 3) if number % 2 == 0 else slice(5, 8)] += 1
        omlab.write(kind.Scan(array), f"{id}.scan")

    def rows(**columns):
        split = ["train"] * 6 + ["test"] * 4
        common = [{"id": id, "scan": f"{id}.scan", "group": f"p{n}", "split": split[n]} for n, id in enumerate(IDS)]
        return table([row | {name: make(n) for name, make in columns.items()} for n, row in enumerate(common)])

    return rows


TARGETS = {
    "classification": {"target": lambda number: SIDES[number % 2]},
    "regression": {"target": lambda number: 2.5 * (number % 2)},
    "masking": {},
}
SLOW = pytest.mark.slow
COMPOSED = [
    ("classification", "finetune", {}),
    pytest.param("classification", "finetune", {"part": "head"}, marks=SLOW),
    pytest.param("classification", "lora", {}, marks=SLOW),
    pytest.param("regression", "finetune", {}, marks=SLOW),
    ("regression", "lora", {}),
    ("masking", "finetune", {}),
    pytest.param("masking", "lora", {}, marks=SLOW),
    (None, "linear-probe", {}),
    pytest.param(None, "knn", {}, marks=SLOW),
    pytest.param(None, "nearest-centroid", {}, marks=SLOW),
]


@pytest.mark.parametrize(("recipe", "adapter", "settings"), COMPOSED)
def test_recipes_and_adapters_compose(scans, recipe, adapter, settings):
    data = scans(**TARGETS[recipe or "classification"])
    made = omlab.adapt("toy-classifier", data, recipe=recipe, adapter=adapter, settings=settings, output="mine")
    assert made.exit_status == 0
    description = json.loads((made.place / "adapted.json").read_text())
    gives = "scores" if recipe == "regression" else "classes"
    assert description["does"]["predict"]["gives"] == gives
    assert omlab.predict("mine", data=data, split="test", output="results").counts == (4, 0)
    rows = rows_of("results/predict.csv")
    assert [row["id"] for row in rows] == IDS[6:]
    if recipe == "regression":
        assert np.mean([float(row["target"]) for row in rows[1::2]]) > np.mean(
            [float(row["target"]) for row in rows[::2]]
        )
    elif recipe != "masking":
        session = omlab.load_model("mine")
        answers = [session.predict(omlab.read(f"{id}.scan")).predicted for id in IDS[6:]]
        assert answers == [(SIDES[number % 2],) for number in range(6, 10)]


def test_a_model_that_embeds_fills_a_store(scans):
    omlab.embed("toy-classifier", data=scans(), output="features")
    ids, vectors = open_embeddings(Path("features/embed.safetensors"))
    assert list(ids) == IDS
    direct = omlab.load_model("toy-classifier").embed(omlab.read(f"{IDS[3]}.scan"))
    np.testing.assert_allclose(vectors[3], direct.vector, rtol=1e-5)


def test_sequences_are_scored_against_one_another(toys):
    toys.install("sequences")
    Path("queries.fasta").write_text(">first\nACDEF\n>second\nWWWWW\n")
    Path("reference.fasta").write_text(">it\nACDEFG\n")
    outcome = omlab.apply_verb(
        "score", "toy-aligner", "queries.fasta", named={"reference": "reference.fasta"}, output="o"
    )
    assert [row["matched"] for row in rows_of(outcome.place / "score.csv")] == ["5.0", "0.0"]
    values = {"query": "ACDEF", "reference": "AXDEF"}
    longest = omlab.apply_verb("score", "toy-aligner", values=values, options={"longest": True}, output="l")
    assert "3.0" in (longest.place / "score.csv").read_text()


def test_a_chat_comes_word_by_word_and_is_the_same_for_a_seed(toys):
    toys.install("chat")
    session = omlab.load_model("toy-parrot")
    chat = import_module("omlab_toy_chat.model").Chat(("it hurts a lot here",))
    *words, answer = session.stream("generate", {"chat": chat}, seed=1, words=5)
    assert len(words) == 5
    assert answer == session.generate(chat, seed=1, words=5) != session.generate(chat, seed=2, words=5)
    outcome = omlab.apply_verb("generate", "toy-parrot", values={"chat": "well well"}, output="said")
    assert json.loads((outcome.place / "chat.chat").read_text())["turns"][0] == "well well"


def test_an_endpoint_answers_several_at_once_and_its_key_is_written_nowhere(toys, monkeypatch):
    toys.install("chat")
    service = toys.examples("chat")
    cards = toys.site / "omlab_toy_chat" / "cards.toml"
    cards.write_text(cards.read_text().replace("http://127.0.0.1:9/answer", service.endpoint("toy-far")))
    chats = import_module("omlab_toy_chat.model")
    for number in range(8):
        omlab.write(chats.Chat((f"question {number}",)), f"{number}.chat")
    files = [f"{number}.chat" for number in range(8)]
    unanswered = omlab.apply_verb("generate", "toy-far", files, output="none")
    assert unanswered.counts == (0, 8)
    assert "set the environment variable OMLAB_TOY_KEY" in unanswered.failed[0].reason
    monkeypatch.setenv("OMLAB_TOY_KEY", "very-secret")
    service.met["most"] = 0
    outcome = omlab.apply_verb("generate", "toy-far", files, output="answers")
    assert outcome.counts == (8, 0)
    assert service.met["most"] > 1
    assert "very-secret" in service.met["keys"]
    assert not any(b"very-secret" in path.read_bytes() for path in outcome.place.rglob("*") if path.is_file())
    with pytest.raises(WeightsError, match="the network is off"):
        omlab.apply_verb("generate", "toy-far", files, output="offline", offline=True)
    with pytest.raises(OmlabError, match="no untrained form"):
        omlab.load_model("toy-far.untrained")


def test_two_volumes_give_a_warped_one_and_its_transform(toys):
    toys.install("scans", "registration")
    kind = import_module("omlab_toy_scans.scan")
    affine = np.diag([2.0, 1.0, 3.0, 1.0])
    fixed, moving = np.zeros((2, 8, 8, 6), np.float32)
    fixed[4, 4, 3] = moving[2, 5, 3] = 1
    omlab.write(kind.Scan(fixed, affine), "fixed.scan")
    omlab.write(kind.Scan(moving, affine), "moving.scan")
    named = {"fixed": "fixed.scan", "moving": "moving.scan"}
    outcome = omlab.apply_verb("register", "toy-centres", named=named, output="out")
    assert sorted(path.name for path in outcome.place.glob("fixed.*")) == ["fixed.transform.shift", "fixed.warped.scan"]
    assert omlab.read(outcome.place / "fixed.warped.scan", kind="scan").array[4, 4, 3] == 1
    assert omlab.read(outcome.place / "fixed.transform.shift").by == (4.0, -1.0, 0.0)


def test_bags_of_patches_are_classified_by_what_an_encoder_sees(scans, toys):
    toys.install("mil")
    for id in IDS:
        os.link(f"{id}.scan", f"{id}.patch")
    parts = [[IDS[n], IDS[(n + 2) % 10]] for n in range(10)]
    rows = [{"id": f"slide-{n}", "bag:bag": ";".join(f"{id}.patch" for id in parts[n])} for n in range(10)]
    marked = [row | {"target": SIDES[n % 2], "split": "train" if n < 6 else "test"} for n, row in enumerate(rows)]
    data = table(marked, "bags.csv")
    made = omlab.adapt("toy-mil", data, output="mine")
    assert made.exit_status == 0
    assert omlab.predict("mine", data=data, split="test", output="results").counts == (4, 0)
    adapted = omlab.adapt(
        "toy-classifier", scans(**TARGETS["classification"]), recipe="classification", output="encoder"
    )
    with_other = omlab.predict("mine", data=data, output="others", needs={"encoder": adapted.place})
    request = json.loads((with_other.place / "run.json").read_text())["request"]
    assert request["model"]["needs"]["encoder"]["name"] == "encoder"


def test_an_adapted_model_keeps_the_encoder_that_it_was_adapted_with(scans, toys):
    toys.install("mil")
    rows = []
    for n, id in enumerate(IDS):
        os.link(f"{id}.scan", f"{id}.patch")
        rows.append({"id": id, "bag:bag": f"{id}.patch", "target": SIDES[n % 2], "split": "train"})
    adapted = omlab.adapt(
        "toy-classifier", scans(**TARGETS["classification"]), recipe="classification", output="encoder"
    )
    omlab.adapt("toy-mil", table(rows, "bags.csv"), output="mine", needs={"encoder": adapted.place})
    bag = omlab.read(f"{IDS[0]}.patch", kind="bag")
    shutil.rmtree("encoder")
    session = omlab.load_model("mine")
    assert session.identity["needs"]["encoder"]["adapted"]
    plain = omlab.load_model("mine", needs={"encoder": "toy-classifier"})
    assert session.predict(bag).probabilities != plain.predict(bag).probabilities


def test_what_is_pointed_at_comes_from_a_file_or_a_table(scans, toys):
    toys.install("prompted")
    click = {"space": "ras", "objects": [{"name": "bright", "points": [{"at": [1, 2, 0]}]}]}
    Path("click.json").write_text(json.dumps(click))
    outcome = omlab.predict("toy-grower", f"{IDS[0]}.scan", named={"prompts": "click.json"}, output="one.mask")
    assert outcome.exit_status == 0
    assert omlab.read("one.mask", kind="mask").array[:3, :5].mean() > 0.9
    several = omlab.predict("toy-grower", data=scans(prompts=lambda number: "click.json"), output="all")
    assert several.counts == (10, 0)
    rows = [{"id": id, "scan": f"{id}.scan", "prompts:prompts": click, "split": "test"} for id in IDS[:2]]
    Path("list.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert omlab.predict("toy-grower", data="cases:list.jsonl", output="lines").counts == (2, 0)
    wrong = {**click, "objects": [{"name": "bright", "points": [{"at": [100, 2, 0]}]}]}
    Path("click.json").write_text(json.dumps(wrong))
    failed = omlab.predict("toy-grower", f"{IDS[0]}.scan", named={"prompts": "click.json"}, output="two")
    assert "lies outside" in failed.failed[0].reason


def test_a_recipe_with_a_loop_of_its_own_learns_from_rewards(scans, toys):
    toys.install("loop")
    made = omlab.adapt("toy-player", scans(**TARGETS["classification"]), output="mine")
    history = json.loads((made.place / "history.json").read_text())
    assert len(history) == 30
    assert np.mean([row["reward"] for row in history[-5:]]) > np.mean([row["reward"] for row in history[:5]])
    session = omlab.load_model("mine")
    answers = [session.predict(omlab.read(f"{id}.scan")).predicted[0] for id in IDS]
    assert answers == [SIDES[number % 2] for number in range(10)]


def test_low_rank_additions_find_the_layers_that_a_model_advises(toys):
    toys.install("sequences", "attention", "training")
    rows = [{"id": f"s{n}", "sequence": f"s{n}.fasta", "target": ("soluble", "membrane")[n % 2]} for n in range(8)]
    for n in range(8):
        Path(f"s{n}.fasta").write_text(f">s{n}\n{'DEKR' * 3 if n % 2 == 0 else 'LIVF' * 3}\n")
    data = table([row | {"split": "train" if n < 6 else "test"} for n, row in enumerate(rows)])
    made = omlab.adapt("toy-reader", data, adapter="lora", output="mine")
    kept = read_state_dict(made.place / "weights.safetensors")
    assert {name.split(".")[0] for name in kept} == {"query", "value", "head"}
    assert {tuple(tensor.shape) for name, tensor in kept.items() if "lora_A" in name} == {(2, 8)}
    assert omlab.predict("mine", data=data, split="test", output="results").counts == (2, 0)


def test_inputs_of_a_table_are_found_by_kind_or_by_a_map_for_training_too(scans):
    rows = [
        {"id": id, "picture:scan": f"{id}.scan", "target": SIDES[n % 2], "split": "train"} for n, id in enumerate(IDS)
    ]
    data = table(rows, "named.csv")
    made = omlab.adapt("toy-classifier", data, recipe="classification", output="mine", settings={"part": "head"})
    assert made.exit_status == 0
    two = table([row | {"other:scan": row["picture:scan"]} for row in rows], "two.csv")
    with pytest.raises(OmlabError, match="no 'pictures': did you mean 'picture'"):
        omlab.adapt("toy-classifier", two, recipe="classification", output="no", mapped={"scan": "pictures"})
    made = omlab.adapt("toy-classifier", two, recipe="masking", output="mapped", mapped={"scan": "other"})
    assert made.exit_status == 0
