"""Packages that `omlab new` writes pass ruff, mypy, their own tests and their real commands as they stand.

They are not installed but put on the path with the metadata that an installation would write.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from mkdocs.config.defaults import MkDocsConfig

from omlab_testkit import scaffold
from omlab_testkit.scaffold.kinds import KINDS, TAKEN
from tools import plugin_table, site, workspace
from tools.workspace import ROOT

PACKAGES = ROOT / "packages"

SCAN = """
import numpy as np, omlab
from omlab_volume.volume import Volume
array = np.zeros((1, 16, 16, 8), dtype=np.float32)
array[0, 4:9, 4:9, 2:6] = 300
volume = Volume(array=array, affine=np.eye(4), intensity="hu")
omlab.write(volume, "scan.nii.gz")
"""
ARCHIVE = """
omlab.write(volume, "scan.zzformat.npz")
"""
READERS = """
from pathlib import Path
from omlab_volume.volume import Label, LabelMap
box = LabelMap(array=(array[0] > 150).astype(np.uint8), affine=np.eye(4), labels=[Label(value=1, name="box")])
Path("scans").mkdir()
omlab.write(volume, "ct.nii.gz")
omlab.write(volume, "scans/one.nii.gz")
omlab.write(box, "labels.nii.gz")
Path("list.csv").write_text("id,volume,target,split\\none,ct.nii.gz,labels.nii.gz,train\\n")
"""
"""What a reader of the READMEs has."""
TRACE = """
import omlab
from omlab_zz_payload.trace import Trace
omlab.write(Trace(values=[0.1, 0.4], rate=2.0), "ecg.zzpayload.json")
print(omlab.read("ecg.zzpayload.json").seconds)
"""
TRACES = "id,trace\none,ecg.zzpayload.json\n"
RUNNER = """
import sys
from click.testing import CliRunner
from omlab.cli.app import build
from omlab.errors import OmlabError
for line in sys.stdin.read().splitlines():
    done = CliRunner().invoke(build(), line.split())
    if done.exit_code or (done.exception and not isinstance(done.exception, SystemExit)):
        sys.exit(f"omlab {line}: {done.exit_code} {done.exception!r}\\n{done.output}")
    print(f"$ omlab {line}", done.output, sep="\\n")
"""
CHECK_TABLE = """
import sys
from pathlib import Path
from tools import workspace
workspace.ROOT = Path(sys.argv.pop())
from tools import plugin_table
sys.argv.append("--check")
sys.exit(plugin_table.main(workspace.ROOT / "README.md"))
"""
COMMANDS = """\
list
info zz-model
info zz-format
info zz-payload
datasets verify cases:traces.csv
datasets prepare zz-dataset
datasets verify zz-dataset
predict zz-model scan.nii.gz -o seg.nii.gz --overlay seg.png
predict zz-model scan.zzformat.npz -o same.nii.gz
embed zz-model --data zz-dataset -o features
adapt zz-model --data zz-dataset --adapter zz-adapter -o renumbered
predict renumbered scan.nii.gz -o renumbered.nii.gz
evaluate renumbered --data zz-dataset --evaluator zz-evaluator -o report
"""
TRAINING = """\
adapt zz-model --data zz-dataset -o mine -s steps=10
predict mine --data zz-dataset -o results
evaluate mine --data zz-dataset --evaluator zz-evaluator -o judged
adapt zz-recipe --data zz-dataset --recipe zz-recipe -o warmed -s steps=30
predict warmed scan.nii.gz -o warmed.nii.gz
evaluate warmed --data zz-dataset --evaluator zz-evaluator -o warmed-judged
"""


def run(*command: str, cwd: Path, path: Iterable[Path] = (), given: str = "") -> str:
    sources = os.pathsep.join(str(folder) for folder in path)
    environment = {**os.environ, "PYTHONPATH": sources, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, input=given, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make(kind: str, name: str, *, folder: Path) -> Path:
    """Have a package written, and pretend to install it."""
    scaffold.create(kind, name, destination=folder, contrib=False)
    package = folder / f"omlab-{name}"
    module = f"omlab_{name.replace('-', '_')}"
    metadata = package / "src" / f"{module}-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: omlab-{name}\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text(f"[omlab]\n{name} = {module}.plugin\n")
    return package


@pytest.mark.parametrize(
    "kind", ["format", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "format")]
)
def test_a_package_of_its_own_passes(kind: str, tmp_path: Path) -> None:
    package = make(kind, "zz-tiny", folder=tmp_path)
    run("-m", "ruff", "check", ".", cwd=package)
    run("-m", "ruff", "format", "--check", ".", cwd=package)
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package, path=[package / "src"])


def test_names_of_packages_of_omlab_are_taken() -> None:
    ours = {
        package.name.removeprefix("omlab-") for package in workspace.packages() if package.folder.parent == PACKAGES
    }
    assert ours - TAKEN == set()


def test_people_and_programs_find_every_kind() -> None:
    page = (ROOT / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+) NAME` \|", page, flags=re.MULTILINE) == list(KINDS)
    assert ", ".join(KINDS) in site.for_agents(MkDocsConfig())


@pytest.mark.slow
def test_packages_of_every_kind_keep_strict_types(tmp_path: Path) -> None:
    packages = [make(kind, f"zz-{kind}", folder=tmp_path) for kind in KINDS]
    for package in packages:
        run("-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "src", "tests", cwd=package)


@pytest.mark.parametrize("training", ["", pytest.param(TRAINING, marks=pytest.mark.slow)], ids=["", "training"])
def test_packages_of_every_kind_do_their_work_by_the_real_commands(training: str, tmp_path: Path) -> None:
    sources = [make(kind, f"zz-{kind}", folder=tmp_path) / "src" for kind in KINDS]
    work = tmp_path / "work"
    work.mkdir()
    run("-c", SCAN + ARCHIVE, cwd=work, path=sources)
    (work / "traces.csv").write_text(TRACES)
    assert run("-c", TRACE, cwd=work, path=sources).strip() == "1.0"
    said = run("-c", RUNNER, cwd=work, path=sources, given=COMMANDS + training)
    listed, told = said.partition("$ omlab info zz-model")[::2]
    assert all(f"zz-{kind}" in listed for kind in KINDS)
    assert "recipe" in told
    assert (work / "seg.nii.gz").is_file()
    assert (work / "seg.png").is_file()
    assert (work / "features" / "embed.safetensors").is_file()
    assert (work / "same.nii.gz").is_file()
    assert "Voxel accuracy" in (work / "report" / "report.html").read_text()
    for trained in ("judged", "warmed-judged"):
        assert (work / trained / "report.html").is_file() == bool(training)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_readme_shows_works(kind: str, tmp_path: Path) -> None:
    """Its Python, then its commands, beside a model and a data set of the reader's."""
    packages = {one: make(one, f"zz-{one}", folder=tmp_path) for one in dict.fromkeys(["model", "dataset", kind])}
    sources = [package / "src" for package in packages.values()]
    work = tmp_path / "work"
    work.mkdir()
    run("-c", SCAN + READERS, cwd=work, path=sources)
    text = (packages[kind] / "README.md").read_text(encoding="utf-8")
    for shown, made in (("MODEL", "zz-model"), ("DATASET", "zz-dataset"), ("FOLDER", "data")):
        text = re.sub(rf"\b{shown}\b", made, text)
    lines = [line[4:].partition("  #")[0].rstrip() for line in text.splitlines() if line.startswith("    ")]
    commands = [line.removeprefix("omlab ") for line in lines if line.startswith("omlab ")]
    run("-c", "\n".join(line for line in lines if not line.startswith(("omlab ", "pip "))), cwd=work, path=sources)
    run("-c", RUNNER, cwd=work, path=sources, given="\n".join(commands))


@pytest.mark.parametrize("kind", KINDS)
def test_a_contributed_package_keeps_the_rules_of_the_workspace(kind: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)
    for area in ("core", "packages"):  # by these ruff knows which imports are ours
        (tmp_path / area).symlink_to(ROOT / area)
    scaffold.create(kind, "aa-much-longer-name-than-usual", destination=tmp_path, contrib=True)
    run("-m", "ruff", "check", "contrib", cwd=tmp_path)
    run("-m", "ruff", "format", "--check", "contrib", cwd=tmp_path)
    folder = tmp_path / "contrib" / "omlab-aa-much-longer-name-than-usual"
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_contributed_package_stands_in_the_table_as_its_tool_would_put_it(kind: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "README.md").write_text(plugin_table.with_table((ROOT / "README.md").read_text(encoding="utf-8")))
    for area in ("core", "packages"):
        (tmp_path / area).symlink_to(ROOT / area)
    (tmp_path / "contrib").mkdir()
    for package in (ROOT / "contrib").iterdir():
        (tmp_path / "contrib" / package.name).symlink_to(package)
    scaffold.create(kind, "zz-tiny", destination=tmp_path, contrib=True)
    run("-c", CHECK_TABLE, str(tmp_path), cwd=ROOT)
