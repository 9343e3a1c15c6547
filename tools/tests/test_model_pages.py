"""The models' pages: every model has one, it says what the card says, and its commands and its Python run as shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import omlab
from omlab.card_schema import ModelCard, validate
from omlab.registry import registry
from omlab_prompts.testing import prompts_for
from omlab_testkit.cases import accepted
from omlab_testkit.examples import examples
from omlab_video.io.video_file import write_video
from tools import costs, model_index, model_pages, ordinary_inputs
from tools.pages import shell

CARDS = {card.name: card for card in registry().cards("model")}
TINY = ["esm2-tiny", "stunet-tiny", "sammed2d-tiny", "pathoduet-tiny", "endofm-polypdiag-tiny"]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def card(name: str) -> ModelCard:
    found = validate(CARDS[name])
    assert isinstance(found, ModelCard)
    return found


def test_every_model_but_demonstrations_has_a_page_in_the_index() -> None:
    index, pages = model_index.page(), dict(model_pages.pages())
    for name, found in CARDS.items():
        shown = not found.data.get("demonstration", False)
        assert (f"models/{name}.md" in pages) == shown
        assert (f'href="models/{name}.html"' in index) == shown


def test_a_page_says_what_the_card_says() -> None:
    page = model_pages.page(card("sammed3d"))
    for text in (
        "made for\n:   [ct](../models.md?modality=ct#all-of-them), [mr](",
        "tasks\n:   segmentation, simulate",
        "weights\n:   [turbo](#weights), [first](#weights)",
        "; unless you name one, `turbo`",
        "licence of the weights\n:   Not stated by the authors",
        "time and memory\n:   predict ",
        "to train\n:   [clicks](#train-it)",
        "package\n:   `pip install omlab-sammed3d`, [about it](../packages/omlab-sammed3d.md)",
        "omlab predict sammed3d volume.nii.gz prompts=prompts.json -o labelmap.nii.gz",
        "omlab do simulate sammed3d volume.nii.gz reference=reference.nii.gz",
        "--recipe clicks",
        "| `learning_rate` | `0.0008` |",
        "**turbo**: Trained on SA-Med3D-140K",
        "sam_med3d_turbo.pth`",
        " | about 1,206 MB |",
        "## Limits",
        "Wang et al., SAM-Med3D",
    ):
        assert text in page


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if number > 1 else ()) for number, name in enumerate(TINY)]
)
def test_the_commands_and_the_python_of_a_page_run_as_shown(name: str, tmp_path: Path) -> None:
    facts = card(name)
    for verb in facts.does.values():
        made = {word: examples(verb.kinds[word], card=name, tests=None)[0] for word in verb.required}
        shown, first = next(iter(made.items()))
        for word, payload in made.items():
            path = tmp_path / model_pages.file_name(word, verb.kinds[word])
            if verb.kinds[word] == "clip":  # omlab writes none
                write_video(path, payload.stream(), times=payload.times.tolist())
            elif verb.kinds[word] == "prompts":
                pointed = accepted(prompts_for(first), verb.accepts.get(word), card=name)
                image = model_pages.file_name(shown, verb.kinds[shown])
                omlab.write(pointed.model_copy(update={"image": image}), path)
            else:
                omlab.write(payload, path)
    page = model_pages.page(facts)
    for verb in facts.does:
        line = model_pages.command(facts, verb)
        assert line in page
        shell(line, cwd=tmp_path)
    made_by_command = _result(facts, tmp_path).stat().st_mtime_ns
    subprocess.run([sys.executable, "-c", PYTHON.findall(page)[0]], cwd=tmp_path, check=True)
    assert _result(facts, tmp_path).stat().st_mtime_ns > made_by_command


def _result(facts: ModelCard, folder: Path) -> Path:
    gives = next(iter(facts.does.values())).gives
    return folder / model_pages.file_name(gives, gives)


def test_what_a_model_costs_is_measured_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_pages, "COSTS", tmp_path / "costs.csv")
    monkeypatch.setattr(costs, "COSTS", tmp_path / "costs.csv")
    monkeypatch.setattr(sys, "argv", ["costs", "esm2-tiny"])
    costs.main()
    model_pages.costs.cache_clear()
    page = model_pages.page(card("esm2-tiny"))
    model_pages.costs.cache_clear()
    row = next(line for line in page.splitlines() if line.startswith("| embed | 250 residues |"))
    assert float(row.split("|")[3].split()[0]) > 0
    assert int(row.split("|")[4].split()[0]) > 100


@pytest.mark.parametrize(
    ("name", "verb", "words"),
    [
        ("abmil", "predict", "bag of 10,000 patches"),
        ("medsam", "predict", "image of 512 x 512 pixels, one box"),
        ("sammed3d", "predict", "volume of 128 x 128 x 128 voxels, one click"),
        ("medlam", "localise", "volume of 128 x 128 x 128 voxels, three annotated ones"),
        ("atlas-registration", "register", "2, each a volume of 128 x 128 x 128 voxels"),
        ("sammed2d", "simulate", None),
        ("pulse-7b", "generate", None),
    ],
)
def test_a_cost_says_what_it_was_measured_on(name: str, verb: str, words: str | None) -> None:
    assert ordinary_inputs.ordinary(card(name), verb) == words


def test_a_picture_is_shown_with_what_it_shows() -> None:
    with_pictures = sorted(path.stem for path in model_pages.PICTURES.glob("*.webp"))
    assert len(with_pictures) >= 10
    for package in with_pictures:
        told = (model_pages.PICTURES / f"{package}.txt").read_text(encoding="utf-8").strip()
        name = next(name for name, found in CARDS.items() if found.distribution == package)
        assert (
            f"![](../images/models/{package}.webp)](../images/models/{package}.webp)\n\n*{told}.*"
            in model_pages.page(card(name))
        )
        assert (model_pages.PICTURES / f"{package}.webp").stat().st_size <= 120_000


def test_a_page_says_what_the_picture_shows_that_it_opens_with() -> None:
    docs = model_pages.PICTURES.parents[1]
    with_pictures = sorted((docs / "images").glob("*.webp"))
    assert len(with_pictures) >= 7
    for picture in with_pictures:
        told = picture.with_suffix(".txt").read_text(encoding="utf-8").strip()
        page = " ".join((docs / f"{picture.stem}.md").read_text(encoding="utf-8").split())
        assert f"(images/{picture.name}) *{told}.*" in page
        assert picture.stat().st_size <= 60_000
