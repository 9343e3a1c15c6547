"""Finding the plugin under test, switching checks off, and staying out of the way."""

import subprocess
import sys

import pytest

from omlab_testkit import suite
from omlab_testkit.checks import all_checks, as_markdown

pytest_plugins = ["pytester"]
ONE = ("-k", "test_names_are_unique")


def skip(example, text):
    example.append("pyproject.toml", f"\n[tool.omlab-testkit.skip]\n{text}\n")


def test_a_check_switched_off_with_a_reason_is_listed_with_it(example):
    skip(example, 'names_are_unique = "the names of this package are agreed on elsewhere"')
    result = example.check("tests", *ONE)
    result.assert_outcomes(skipped=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(
        [
            "*omlab checks that were not made*",
            "names_are_unique*omlab-example*: switched off: the names of this package are agreed on elsewhere",
        ]
    )


def test_a_module_that_is_skipped_as_a_whole_is_no_trouble(example):
    (example.folder / "tests" / "test_extra.py").write_text("import pytest\npytest.importorskip('nothing_like_this')\n")
    result = example.check("tests/test_extra.py")
    result.assert_outcomes(skipped=1)
    result.stderr.no_fnmatch_line("*Error*")


def test_a_check_can_be_switched_off_for_one_card(example):
    skip(example, '"card_is_complete[format-*]" = "these formats are not ours to describe"')
    result = example.check("tests", "-k", "test_card_is_complete")
    passed, skipped, failed = result.reprec.countoutcomes()
    assert (passed, skipped, failed) == (14, 2, 0)


def test_a_check_can_be_switched_off_for_one_verb(example):
    skip(example, '"parameters_are_counted_right[example-net]" = "they are counted by somebody else here"')
    skip_text = '"same_again[example-net/predict]" = "it is not the same, on purpose, here"\n'
    example.append("pyproject.toml", skip_text)
    result = example.check("tests", "-k", "test_same_again and example-net")
    assert result.reprec.countoutcomes() == [1, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('names_are_unique = ""', "switched off without a reason"),
        ('names_are_unique = "not needed"', "at least 5 words"),
        ("names_are_unique = true", "switched off without a reason"),
        ('names_are_fine = "a reason of more than five words"', "names 'names_are_fine', which is no check"),
    ],
)
def test_a_check_is_not_switched_off_without_a_reason(example, text, message):
    skip(example, text)
    result = example.check("tests", *ONE)
    assert result.ret != 0
    assert not result.reprec.listoutcomes()[0]
    assert message in result.stdout.str() + result.stderr.str()


def test_the_suite_cannot_be_subclassed():
    with pytest.raises(TypeError, match=r"write down in pyproject\.toml"):
        type("TestMine", (suite.TestPlugin,), {"test_names_are_unique": None})


def test_an_installed_plugin_is_checked_by_name(example):
    result = example.check("--pyargs", "omlab_testkit.conformance", "--omlab-plugin", "omlab-example", *ONE)
    assert result.reprec.countoutcomes() == [1, 0, 0]


def test_every_installed_plugin_is_checked_on_request(example):
    result = example.check("--pyargs", "omlab_testkit.conformance", "--omlab-all", "-v", *ONE)
    assert result.reprec.countoutcomes()[0] >= 1
    result.stdout.fnmatch_lines(["*test_names_are_unique[[]omlab-example[]]*PASSED*"])


def test_together_only_what_others_may_upset_is_checked(example):
    result = example.check("--pyargs", "omlab_testkit.conformance", "--omlab-together", "--collect-only", "-q")
    found = result.stdout.str()
    assert "test_names_are_unique[omlab-example]" in found
    assert "test_result_is_what_the_card_says[omlab-example:example-net/predict]" in found
    assert "test_same_again" not in found
    assert "test_golden_file_is_answered" not in found


def test_what_takes_long_is_marked_slow(example):
    why = '"the published size takes a minute"'
    example.append("pyproject.toml", f'\n[tool.omlab-testkit.slow]\n"golden_file_is_answered[golden/*]" = {why}\n')
    result = example.check("tests", "-k", "test_golden", "-m", "not slow")
    assert result.reprec.countoutcomes() == [0, 0, 0]
    assert "error" not in result.stdout.str().lower()


def test_a_model_of_the_same_code_is_checked_at_night(example):
    cards = example.folder / "omlab_example" / "cards.toml"
    start, model = cards.read_text().partition('[[model]]\nname = "example-story"')[::2]
    model = '[[model]]\nname = "example-story"' + model
    mine, others = model[:10] + model[10:].partition("[[")[0], "[[" + model[10:].partition("[[")[2]
    cards.write_text(start + mine + mine.replace("example-story", "example-saga", 1) + others)
    example.append("pyproject.toml", '\n[tool.omlab-testkit.like]\nexample-saga = "example-story"\n')
    options = ("tests", "--collect-only", "-q", "-k", "saga")
    quick, slow = (example.check(*options, "-m", mark).stdout.str() for mark in ("not slow", "slow"))
    assert "test_weights_are_described[example-saga]" in quick
    assert "test_loading_is_repeatable[example-saga]" in slow
    assert "test_same_again[example-saga/generate]" in slow
    assert "test_same_again" not in quick


def test_weights_of_the_same_form_are_checked_at_night(example):
    cards = example.folder / "omlab_example" / "cards.toml"
    before, head, rest = cards.read_text().partition("[model.weights.second]")
    first = before[before.index("[model.weights.first]") :]
    cards.write_text(before + first.replace("first", "fold-2").replace("1000", "2000") + head + rest)
    options = ("tests", "--collect-only", "-q", "-k", "wrong_checkpoint")
    quick, slow = (example.check(*options, "-m", mark).stdout.str() for mark in ("not slow", "slow"))
    assert all(f"[example-net.{tag}]" in quick for tag in ("first", "second", "third"))
    assert "[example-net.fold-2]" in slow
    assert "[example-net.fold-2]" not in quick


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('example-story = "example-asker"', "'example-story' is not like 'example-asker': its entry is another"),
        ('example-story = "example-tale"', "names 'example-tale', which is no model"),
    ],
)
def test_a_model_is_like_one_of_the_same_code_only(example, text, message):
    example.append("pyproject.toml", f"\n[tool.omlab-testkit.like]\n{text}\n")
    result = example.check("tests", *ONE)
    assert result.ret != 0
    assert message in result.stdout.str() + result.stderr.str()


def test_without_a_name_the_installed_suite_asks_for_one(example):
    result = example.check("--pyargs", "omlab_testkit.conformance")
    assert result.ret != 0
    assert "--omlab-plugin DIST, or --omlab-all" in result.stdout.str() + result.stderr.str()


def test_a_package_that_is_no_plugin_says_so(example):
    example.change("pyproject.toml", 'name = "omlab-example"', 'name = "omlab-elsewhere"')
    result = example.check("tests")
    assert result.ret != 0
    said = result.stdout.str() + result.stderr.str()
    assert "'omlab-elsewhere' is not installed as a plugin" in said
    assert "Install it (uv pip install -e .)" in said
    assert "Traceback" not in said
    assert "pytest_plugin.py" not in said  # the sentence alone, not where it was raised


def test_further_golden_cases_are_answered(example, tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    text = (example.folder / "tests" / "golden" / "three_classes.json").read_text()
    (folder / "other.json").write_text(text.replace('"salt": "example",', '"salt": "another",'))
    result = example.check("tests", "-k", "test_golden", "--omlab-golden", str(folder))
    assert result.reprec.countoutcomes() == [2, 0, 1]
    assert "features: off by" in result.stdout.str()


def test_golden_cases_without_parity_fail(example):
    (example.folder / "tests" / "parity.py").unlink()
    result = example.check("tests", "-k", "test_golden")
    assert result.reprec.countoutcomes() == [0, 0, 1]
    assert "There are golden cases but no" in result.stdout.str()


def test_own_examples_replace_the_declared_ones(example):
    (example.folder / "tests" / "examples.py").write_text("def examples(kind, card):\n    return []\n")
    result = example.check("tests", "-k", "test_result_is_what and example-net")
    assert result.reprec.countoutcomes()[2] == 2
    assert "uses payloads of kind 'signal', of which there is no example" in result.stdout.str()


def test_other_tests_are_left_alone(pytester):
    pytester.makepyfile("def test_one(): pass")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.reprec.countoutcomes() == [1, 0, 0]
    assert "omlab checks" not in result.stdout.str()


def test_the_pytest_plugin_imports_nothing_heavy():
    code = (
        "import sys, omlab_testkit.pytest_plugin;"
        "print([m for m in ('omlab', 'numpy', 'torch', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_verb_without_a_method_is_told_before_it_is_called():
    checks = list(all_checks())
    assert checks.index("methods_are_there") < checks.index("result_is_what_the_card_says")


def test_every_check_states_its_promise_in_the_readme(request):
    readme = (request.path.parents[1] / "README.md").read_text()
    listed = readme.partition("<!-- checks -->\n")[2].partition("\n<!-- end of checks -->")[0]
    assert listed == as_markdown()
    assert all(check.promise.endswith(".") for check in all_checks().values())
