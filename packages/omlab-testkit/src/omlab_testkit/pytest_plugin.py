"""The pytest plugin of the test kit. It does nothing in a session without `TestPlugin`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from omlab_testkit.checks import Check
    from omlab_testkit.kit import Kit
    from omlab_testkit.subjects import Subject


_KITS = pytest.StashKey[dict[str, "list[Kit]"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the kit."""
    group = parser.getgroup("omlab", "omlab test kit")
    group.addoption("--omlab-plugin", action="append", default=[], metavar="DIST", help="check this installed plugin")
    group.addoption("--omlab-all", action="store_true", help="check every installed omlab plugin")
    group.addoption(
        "--omlab-together", action="store_true", help="check of every installed plugin what others may upset"
    )
    group.addoption("--omlab-large", action="store_true", help="run models of over 100 million parameters too")
    group.addoption("--omlab-golden", action="append", default=[], metavar="DIR", help="further golden cases")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks of checks that need a GPU, and of those that take long."""
    config.stash[_KITS] = {}
    config.addinivalue_line("markers", "gpu: needs a CUDA device")
    config.addinivalue_line("markers", "slow: takes more than ten seconds")


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> list[pytest.Item] | None:
    """Leave out the checks for which the plugin has nothing to check."""
    check = getattr(getattr(obj, "__wrapped__", None), "omlab_check", None)  # a static method still unbound
    if check is None or _subjects(check, config=collector.config, path=collector.path):
        return None
    return []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each subject of a check."""
    check = getattr(metafunc.function, "omlab_check", None)
    if check is not None:
        subjects = _subjects(check, config=metafunc.config, path=metafunc.definition.path)
        rows = [pytest.param(s, id=_id(s, metafunc.config), marks=_marks(check, s)) for s in subjects]
        metafunc.parametrize("subject", rows)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make all checks of a card one after the other, so that its model is built once."""
    places = [n for n, item in enumerate(items) if hasattr(getattr(item, "function", None), "omlab_check")]
    ours = [items[n] for n in places]
    groups = list(dict.fromkeys(_group(item) for item in ours))
    for place, item in zip(places, sorted(ours, key=lambda item: groups.index(_group(item))), strict=True):
        items[place] = item


def _group(item: Any) -> str:
    return f"{item.path}:{item.callspec.params['subject'].group}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the checks that were switched off or could not be made, with the reasons."""
    rows = [
        f"{report.nodeid.rpartition('::')[2].removeprefix('test_')}: {value}"
        for report in terminalreporter.getreports("skipped")
        for name, value in getattr(report, "user_properties", [])  # a module skipped as a whole has none
        if name == "omlab-testkit"
    ]
    if rows:
        terminalreporter.section("omlab checks that were not made")
        for row in rows:
            terminalreporter.write_line(row)


def _marks(check: Check, subject: Subject) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if subject.kit.is_slow(check, subject) else []


def _id(subject: Subject, config: pytest.Config) -> str:
    several = _asks_all(config) or len(config.getoption("omlab_plugin")) > 1
    name = subject.kit.project.name
    return f"{name}:{subject.id}" if several and subject.id != name else subject.id


def _subjects(check: Check, *, config: pytest.Config, path: Path) -> Sequence[Subject]:
    if config.getoption("omlab_together") and not check.together:
        return []
    return [s for kit in _kits(config, path) for s in kit.subjects(check.scope) if check.is_for(s)]


def _asks_all(config: pytest.Config) -> bool:
    return bool(config.getoption("omlab_all") or config.getoption("omlab_together"))


def _kits(config: pytest.Config, path: Path) -> list[Kit]:
    """The plugins under test: those of the options, else the one whose tests lie at `path`."""
    from omlab_testkit.project import folder_above

    names: list[str] = _installed() if _asks_all(config) else config.getoption("omlab_plugin")
    folder = None if names else folder_above(path.parent)
    key = str(folder)
    if key not in config.stash[_KITS]:
        if not names and (folder is None or path == Path(__file__).with_name("conformance.py")):
            raise pytest.UsageError("Say which plugin to check: --omlab-plugin DIST, or --omlab-all.")
        config.stash[_KITS][key] = _make_kits(config, names=names, folder=folder)
    return config.stash[_KITS][key]


def _make_kits(config: pytest.Config, *, names: Sequence[str], folder: Path | None) -> list[Kit]:
    from omlab.errors import OmlabError
    from omlab_testkit.checks import all_checks
    from omlab_testkit.kit import Kit, require_alike, require_distribution
    from omlab_testkit.project import Project, folder_of, read_project

    golden = [Path(config.invocation_params.dir, name) for name in config.getoption("omlab_golden")]
    if missing := [path for path in golden if not path.is_dir()]:
        raise pytest.UsageError(f"There is no folder {missing[0]} of golden cases.")
    if golden and len(names) > 1:
        raise pytest.UsageError("--omlab-golden is for one plugin: name it with --omlab-plugin.")
    try:
        folders = {name: folder_of(name, root=config.rootpath) for name in names} if folder is None else {"": folder}
        projects = [
            read_project(place, checks=all_checks()) if place else Project(name=name) for name, place in folders.items()
        ]
        kits = [Kit(project=p, large=config.getoption("omlab_large"), golden=golden) for p in projects]
        for kit in kits:
            require_distribution(kit)
            require_alike(kit)
    except OmlabError as error:
        raise pytest.UsageError(str(error)) from None
    return kits


def _installed() -> list[str]:
    from importlib.metadata import entry_points

    return sorted({e.dist.name for e in entry_points(group="omlab") if e.dist is not None})
