"""The example plugin passes every check."""

import pytest

from omlab_testkit.checks import MODULES, all_checks
from omlab_testkit.kit import Kit
from omlab_testkit.outcome import PromiseError
from omlab_testkit.project import Project

pytest_plugins = ["pytester"]


def test_the_right_plugin_passes_every_check(example):
    result = example.check("tests")
    passed, skipped, failed = result.reprec.listoutcomes()
    assert not failed, result.stdout.str()
    checked = {report.nodeid.rpartition("::test_")[2].partition("[")[0] for report in passed}
    assert checked >= set(all_checks()) - {"gpu_equals_cpu"}
    left = {report.nodeid.rpartition("::test_")[2] for report in skipped}
    assert all(name.startswith("gpu_equals_cpu") or "[example-giant" in name for name in left), left


def test_every_module_of_checks_has_wrong_plugins(request):
    tests = "".join(path.read_text() for path in request.path.parent.glob("test_wrong_*.py"))
    assert [module for module in MODULES if f'"{module}"' not in tests] == []


COMMANDS = """
from omlab import hookimpl

OMLAB_HOOK_API = 2


@hookimpl
def omlab_commands(cli):
    pass
"""


def test_a_plugin_of_commands_alone_is_a_plugin_and_one_without_hooks_is_none(toys, tmp_path):
    check = all_checks()["plugin_answers_with_cards"]
    for name, text in (("full", COMMANDS), ("bare", "OMLAB_HOOK_API = 2\n")):
        (toys.site / f"omlab_toy_{name}.py").write_text(text)
        info = toys.site / f"omlab_toy_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: omlab-toy-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[omlab]\n{name} = omlab_toy_{name}\n")
    check.run(Kit(project=Project(name="omlab-toy-full")).subjects("plugin")[0], tmp_path)
    with pytest.raises(PromiseError, match="implements no hook"):
        check.run(Kit(project=Project(name="omlab-toy-bare")).subjects("plugin")[0], tmp_path)
