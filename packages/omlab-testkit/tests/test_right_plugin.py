"""The example plugin passes every check."""

from omlab_testkit.checks import MODULES, all_checks

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
