"""Pages on containers, clusters, recipes, citing and changes: what they show runs, or is at least what it says."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools import changelog, pages
from tools.workspace import ROOT, packages

DOCS = ROOT / "docs"
INSTRUCTIONS = {"FROM", "COPY", "WORKDIR", "RUN", "ENV", "VOLUME", "ENTRYPOINT"}


def test_the_container_file_is_the_one_shown_and_names_what_is_there() -> None:
    text = (DOCS / "examples" / "Dockerfile").read_text(encoding="utf-8")
    assert pages.blocks(DOCS / "containers.md", language="dockerfile") == [text]
    lines = [line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    assert {word for word, _ in lines} == INSTRUCTIONS
    assert lines[0][0] == "FROM"
    arguments = dict(lines)  # the last of each
    assert shlex.split(arguments["COPY"]) == [".", "/omlab"]
    assert json.loads(arguments["ENTRYPOINT"]) == ["/omlab/.venv/bin/omlab"]  # where `uv sync` puts it
    places = [rest for word, rest in lines if word == "WORKDIR"]
    assert places == ["/omlab", "/data"]
    assert arguments["ENV"] == f"OMLAB_CACHE={arguments['VOLUME']}"


def test_the_array_script_is_the_one_shown() -> None:
    script = (DOCS / "examples" / "predict.sbatch").read_text(encoding="utf-8")
    assert f"cat >predict.sbatch <<'END'\n{script}END\n" in pages.blocks(DOCS / "cluster.md")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.slow
def test_the_page_on_clusters_works_as_written(tmp_path: Path) -> None:
    whole = "".join(pages.blocks(DOCS / "cluster.md"))
    assert whole.count(" -o out/") == 2
    pages.shell(whole.replace(" -o out/", " -o out/ -s spacing=6,6,6 -s mirror=no -s step=1"), cwd=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "out" / "cases.jsonl").read_text().splitlines()]
    assert {line["id"] for line in lines if line.get("status") == "ok"} == {"01", "02", "03", "04", "05"}
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == [f"0{n}.nii.gz" for n in range(1, 6)]


def test_the_recipe_that_is_shown_learns() -> None:
    (code,) = pages.blocks(DOCS / "adding-a-recipe.md", language="python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    losses = json.loads(done.stdout.splitlines()[-1])
    assert losses[-1] < losses[0] / 2


def test_the_citation_file_is_complete() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "type", "authors", "license"} <= set(cited)
    assert f"title = {{{cited['title']}}}" in (DOCS / "citing.md").read_text(encoding="utf-8")


def test_every_package_and_every_coming_change_stands_on_the_page_of_changes() -> None:
    page = changelog.page()
    for package in packages():
        assert f"\n## {package.name}\n" in page
        for path in (package.folder / "changes").glob("*.md"):
            assert " ".join(path.read_text(encoding="utf-8").split()) in page


def test_entries_of_released_versions_are_a_level_deeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "changes").mkdir()
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n{changelog.STARTS}\n\n## x 1.0.0 (2026-11-27)\n\n### New\n\n- One.\n"
    )
    monkeypatch.setattr(changelog, "packages", lambda: [type("P", (), {"name": "x", "folder": tmp_path})])
    page = changelog.page()
    assert re.search(r"^### x 1\.0\.0 \(2026-11-27\)\n\n#### New\n\n- One\.$", page, re.MULTILINE)
