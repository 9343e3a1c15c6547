"""The checks of omlab. Plain `nox` runs lint, types, tests and together, two at once; CONTRIBUTING.md tells the rest.

Tests run against wheels that are built once per run, in environments made for the purpose and removed
afterwards. `-- NAME ...` selects packages, `-- --newest` drops the pins of the root pyproject.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import nox

sys.path.insert(0, str(Path(__file__).parent))

from tools import benchmarks, released, workspace
from tools.workspace import ROOT, Package

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = False
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "types", "together", "tests"]  # what takes longest is begun first
if not sys.argv[1:]:  # plain `nox`; a session that is named shows what it prints as it comes, not when it is done
    nox.options.parallel, nox.options.allow_parallel = 2, True


def _full_name(name: str) -> str:
    return name if name.startswith("omlab-") else f"omlab-{name}"


def _to_test() -> list[str]:
    """The packages that get a session: those named behind `--`, for nox makes an environment before a session is asked.

    All of them where none is named, or one that does not exist, which the session then says.
    """
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    every = [package.name for package in workspace.packages()]
    named = [_full_name(word) for word in words]
    return [name for name in every if name in named] or every


EACH_PACKAGE = nox.parametrize("package", [nox.param(name, id=name) for name in _to_test()])
BUILT = ROOT / ".nox" / "built"
BYTECODE = ROOT / ".nox" / "bytecode"
LINTERS = ("ruff", "codespell", "import-linter>=2.1", "packaging", "pyyaml")
TESTERS = ("pytest", "hypothesis", "pyyaml")
ORDINARY = "not gpu and not slow"


@nox.session(venv_backend="none")
def wheels(session: nox.Session) -> None:
    """The wheel of every package, which the sessions that test packages install."""
    for folder in (BUILT, BYTECODE):
        shutil.rmtree(folder, ignore_errors=True)
    for what in ("--all-packages", *(str(package.folder) for package in workspace.apart())):
        session.run("uv", "build", "--quiet", what, "--wheel", "--out-dir", str(BUILT), external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling, who may know whom, generated tables, changelog fragments, workflows."""
    with _environment(session):
        _install(session, *LINTERS, wheels={})
        session.run("ruff", "check", ".")
        session.run("ruff", "format", "--check", ".")
        session.run("codespell")
        sources = os.pathsep.join(str(package.folder / "src") for package in workspace.packages())
        session.run("lint-imports", "--no-cache", "--no-logo", env={"PYTHONPATH": sources})
        session.run("python", "-m", "tools.plugin_table", "--check")
        session.run("python", "-m", "tools.house_rules")


@nox.session
def types(session: nox.Session) -> None:
    """Strict mypy over core, packages, contrib and tools."""
    with _environment(session):
        editable = [part for package in workspace.sharing() for part in ("--editable", _with_extras(package))]
        tests = {row for package in workspace.sharing() for row in package.test}
        _install(session, "mypy", "nox", "mkdocs", "types-PyYAML", *sorted(tests), *editable, wheels={})
        modules = [part for package in workspace.packages() for part in ("--package", package.module)]
        apart = os.pathsep.join(str(package.folder / "src") for package in workspace.apart())
        session.run("mypy", *modules, env={"MYPYPATH": apart})  # what these need and cannot be here is Any
        patterns = ("tools/*.py", "tools/gpu/*.py", "tools/pictures/*.py", "tools/shown/*.py")
        tools = sorted(str(path) for pattern in patterns for path in ROOT.glob(pattern))
        session.run("mypy", "noxfile.py", "conftest.py", *tools)


@nox.session(requires=["wheels"])
@EACH_PACKAGE
def tests(session: nox.Session, package: str) -> None:
    """One package's tests against its wheel, with only what it declares."""
    _test_alone(session, _package(package), _arguments(session))


@nox.session(requires=["wheels"])
@EACH_PACKAGE
def lowest(session: nox.Session, package: str) -> None:
    """One package's tests with the lowest versions that it says it works with."""
    asked, chosen = _arguments(session), _package(package)
    # Only requirements that are named count as direct: name what the package declares beside its wheel.
    _test_alone(session, chosen, asked, *chosen.dependencies, "--resolution=lowest-direct", pinned=False)


@nox.session(name="released", requires=["wheels"])
@EACH_PACKAGE
def against_released(session: nox.Session, package: str) -> None:
    """One package's tests against the others as they were released last: what its users will install it with."""
    asked, chosen = _arguments(session), _package(package)
    with TemporaryDirectory() as folder:
        try:
            others = released.siblings(chosen, folder=Path(folder))
        except ValueError as error:
            session.error(str(error).rstrip("."))
        if others.unreleased:
            session.log(f"Not released yet, and taken from this checkout: {', '.join(others.unreleased)}")
        here = {name: _wheels()[name] for name in (package, *others.unreleased)}
        _test_alone(session, chosen, asked, wheels={**others.released, **here})


@nox.session(requires=["wheels"])
def together(session: nox.Session) -> None:
    """All packages in one environment: no clashes, plugins do not upset each other, the documents hold."""
    with _environment(session):
        _run_lightly(session)
        _install_all(session, "mkdocs-material", "ruff", "towncrier")
        session.run("pytest", "-q", "-m", ORDINARY, "--pyargs", "omlab_testkit.conformance", "--omlab-together")
        _install_apart(session)
        session.run("python", "-m", "tools.together")
        session.run("pytest", "-q", "-m", ORDINARY, "tools/tests")


@nox.session(requires=["wheels"])
def docs(session: nox.Session) -> None:
    """Build the site strictly (links and anchors are checked) and test what the pages say."""
    with _environment(session):
        _install_all(session, "mkdocs-material", "ruff")
        _install_apart(session)
        # not --quiet: it hides warnings from --strict too
        session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})
        session.run("pytest", "-q", "tools/tests/test_docs.py", "tools/tests/test_tutorial.py")


@nox.session
def build(session: nox.Session) -> None:
    """Source distributions and wheels into dist/, their metadata checked: `-- NAME` for one, `-- --tag TAG`."""
    asked = _arguments(session)
    _install(session, "twine", "packaging", wheels={})
    folder = ROOT / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    if asked.tag:
        session.run("python", "-m", "tools.release", "build", asked.tag, str(folder))
    for package in [] if asked.tag else _chosen(asked):
        session.run("uv", "build", "--quiet", str(package.folder), "--out-dir", str(folder), external=True)
    session.run("python", "-m", "tools.release", "check-dist", str(folder))
    session.run("twine", "check", "--strict", *sorted(str(path) for path in folder.glob("omlab_*")))


@nox.session(requires=["wheels"])
def slow(session: nox.Session) -> None:
    """The tests marked `slow`: every package's, and those of the documents; the nightly run's."""
    asked = _arguments(session)
    with _environment(session):
        _install_all(session, "mkdocs-material", "mypy", "ruff")
        _test_marked(session, "slow and not gpu", _chosen(asked), asked.pytest)
        if not asked.names:
            session.run("pytest", "-q", "-m", "slow", *asked.pytest, "tools/tests", success_codes=[0, 5])


@nox.session(requires=["wheels"])
def gpu(session: nox.Session) -> None:
    """The tests marked `gpu` of every package, on a machine with a CUDA device."""
    asked = _arguments(session)
    with _environment(session):
        _install_all(session)
        session.run("python", "-c", "import torch; assert torch.cuda.is_available(), 'this machine has no CUDA device'")
        _test_marked(session, "gpu", _chosen(asked), asked.pytest)


@nox.session(requires=["wheels"])
def bench(session: nox.Session) -> None:
    """Every package's benchmarks, with MONAI beside it, on the GPU where there is one; rows go to their CSV files."""
    asked = _arguments(session)
    with _environment(session):
        _install_all(session, "monai")
        for package in (package for package in _chosen(asked) if not package.apart):
            for script in benchmarks.scripts(package.folder / "benchmarks"):
                with session.chdir(package.folder):
                    session.run("python", str(script))
            for results in sorted(package.folder.glob("benchmarks/*.csv")):
                session.log(f"rows of {package.name}: {results.relative_to(ROOT)}")
    session.log("The page made from them: nox -s docs, then open site/benchmarks.html")


@nox.session(venv_backend="none")
def changed(session: nox.Session) -> None:
    """Packages changed since `-- --base REF` (origin/main) and their dependants; `--json` for the CI matrix."""
    asked = _arguments(session)
    try:
        names = [package.name for package in workspace.changed(asked.base)]
    except ValueError as error:
        session.error(str(error).rstrip("."))
    print(json.dumps(names) if asked.json else "\n".join(names))


def _arguments(session: nox.Session) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"nox -s {session.name} --", allow_abbrev=False)
    parser.add_argument("names", nargs="*", type=_full_name, help="packages (default: all)")
    parser.add_argument("--newest", action="store_true", help="newest dependencies instead of the pinned ones")
    parser.add_argument("--base", default="origin/main", help="what `changed` compares with")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.add_argument("--tag", default="", help="the release tag that `build` is for")
    asked, rest = parser.parse_known_args(session.posargs)
    asked.pytest = rest
    known = [package.name for package in workspace.packages()]
    unknown = [name for name in asked.names if name not in known]
    if unknown:
        session.error(f"There is no package '{unknown[0]}'; known are {', '.join(known)}")
    return asked


def _chosen(asked: argparse.Namespace) -> list[Package]:
    return [package for package in workspace.packages() if not asked.names or package.name in asked.names]


def _package(name: str) -> Package:
    return next(package for package in workspace.packages() if package.name == name)


def _test_alone(
    session: nox.Session,
    package: Package,
    asked: argparse.Namespace,
    *extra: str,
    pinned: bool = True,
    wheels: Mapping[str, Path] | None = None,
) -> None:
    with _environment(session):
        _run_lightly(session)
        pins = workspace.pins(package) if pinned and not asked.newest else []
        _install(session, package.name, *package.test, *extra, pins=pins, wheels=wheels)
        command = ("pytest", "-q", "-m", ORDINARY, "-c", str(ROOT / "pyproject.toml"), "--rootdir", ".")
        with session.chdir(package.folder):  # the folder above src/: the wheel is tested, not the source
            session.run(*command, *asked.pytest, "tests", success_codes=[0, 5] if asked.pytest else [0])


def _test_marked(session: nox.Session, marks: str, chosen: list[Package], rest: list[str]) -> None:
    """The tests so marked of each package, one run each, in the environment at hand or, afterwards, in its own."""
    command = ("pytest", "-q", "-m", marks, "-c", str(ROOT / "pyproject.toml"), "--rootdir", ".")
    for package in chosen:
        if package.apart:
            session.notify(f"tests({package.name})", [package.name, *rest, "-m", marks])
            continue
        with session.chdir(package.folder):
            # 5 is pytest's "no test was selected": a package without such tests
            session.run(*command, *rest, "tests", success_codes=[0, 5])


def _install_all(session: nox.Session, *extra: str) -> None:
    tests = {row for package in workspace.sharing() for row in package.test}
    names = [package.name for package in workspace.sharing()]
    pins = [] if _arguments(session).newest else workspace.pins()
    _install(session, *names, *sorted(tests), *TESTERS, *extra, pins=pins)


def _install_apart(session: nox.Session) -> None:
    """The packages with environments of their own, without what they need: their cards are data and need nothing."""
    if workspace.apart():
        _install(session, "--no-deps", *(package.name for package in workspace.apart()))


def _install(
    session: nox.Session,
    *requirements: str,
    pins: Sequence[str] | None = None,
    wheels: Mapping[str, Path] | None = None,
) -> None:
    """Install, ours from wheels: those built here, or the given ones. Not from inside the checkout, for its pins."""
    ours = [f"{name} @ {wheel.as_uri()}" for name, wheel in (_wheels() if wheels is None else wheels).items()]
    with TemporaryDirectory() as folder:
        constraints = Path(folder).resolve() / "constraints.txt"
        lines = [*ours, *(workspace.pins() if pins is None else pins)]
        constraints.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with session.chdir(folder):
            session.install("--quiet", "--constraint", str(constraints), *requirements)


@contextmanager
def _environment(session: nox.Session) -> Iterator[None]:
    """The session's environment, removed at the end: without hard links one with torch takes gigabytes."""
    try:
        yield
    finally:
        location = getattr(session.virtualenv, "location", None)
        if location is not None:
            shutil.rmtree(location, ignore_errors=True)


def _run_lightly(session: nox.Session) -> None:
    """One thread, which is quicker for tests' small tensors, and nothing compiled twice, which is half of an import.

    uv links the files of all environments to the same copy, so that the bytecode of one is that of the others: what
    Python keeps outside of the environments, by their paths, is led to one folder.
    """
    place = BYTECODE / Path(session.virtualenv.location).absolute().relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(BYTECODE)
    session.env.update(OMP_NUM_THREADS="1", PYTHONPYCACHEPREFIX=str(BYTECODE), PYTHONDONTWRITEBYTECODE=None)


def _with_extras(package: Package) -> str:
    extras = workspace.read_toml(package.folder / "pyproject.toml")["project"].get("optional-dependencies", {})
    return f"{package.folder}[{','.join(extras)}]" if extras else str(package.folder)


@cache
def _wheels() -> dict[str, Path]:
    """The wheel of every package, as the session `wheels` has built it."""
    return {
        package.name: next(BUILT.glob(f"{package.name.replace('-', '_')}-{package.version}-*.whl"))
        for package in workspace.packages()
    }
