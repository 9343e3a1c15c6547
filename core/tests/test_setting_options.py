"""Options of a command that are settings in a file: what was given arrives, what was not is left out."""

import sys

import click
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from omlab.cli.setting_options import given, read_settings, setting_options
from omlab.errors import SettingsError
from omlab.settings import complete

SETTINGS = """
[rounds]
type = "int"
default = 1000
minimum = 0
help = "Rounds of the bootstrap"

[seed]
type = "int"
default = 0
help = "Seed of the bootstrap"

[scale]
type = "float"
default = 400.0
help = "Points for odds"

[ranking]
type = "str"
default = "shared"
choices = ["shared", "position"]
help = "Rule of ranks"

[answers]
type = "str"
default = ""
help = "Folder of answers"

[triage_sets]
type = "list"
default = ["MedTriage"]
help = "Sets that are scored"

[yes]
type = "bool"
default = false
affects_result = false
help = "Start what costs something"

[permute]
type = "bool"
default = true
help = "Permute the options"
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    (tmp_path / "omlab_x").mkdir()
    (tmp_path / "omlab_x" / "__init__.py").touch()
    (tmp_path / "omlab_x" / "settings.toml").write_text(SETTINGS)
    monkeypatch.delitem(sys.modules, "omlab_x", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return read_settings("omlab_x")


@pytest.fixture
def run(settings):
    """What a command with these options is given, completed; or what click says."""

    def invoke(*words):
        found = {}

        @click.command()
        @setting_options(settings)
        @click.option("--output", "-o")
        def command(output, **options):
            found.update(given(options, settings))

        done = CliRunner().invoke(command, words, terminal_width=120)
        if isinstance(done.exception, SystemExit) and done.exit_code:
            return done.output
        return found if "--help" not in words else done.output

    return invoke


def test_what_was_not_given_is_left_out(run, settings):
    assert run() == {}
    assert run("-o", "board") == {}
    assert complete(settings, run(), of="x")["triage_sets"] == ["MedTriage"]


def test_values_are_converted_where_settings_are_completed(run, settings):
    chosen = complete(settings, run("--rounds", "20", "--scale=200", "--yes", "--no-permute", "--answers", "a"), of="x")
    assert chosen == {
        "rounds": 20, "seed": 0, "scale": 200.0, "ranking": "shared", "answers": "a", "triage_sets": ["MedTriage"],
        "yes": True, "permute": False,
    }  # fmt: skip
    for words, sentence in (
        (("--rounds", "many"), "'many', but must be a whole number"),
        (("--rounds", "-1"), "must be at least 0"),
        (("--ranking", "best"), "must be one of shared, position"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            complete(settings, run(*words), of="x")


@pytest.mark.parametrize(
    ("words", "entries"),
    [
        (["--triage-sets", "a,b"], ["a", "b"]),
        (["--triage-sets", "a"], ["a"]),
        (["--triage-sets", "a,b", "--triage-sets", "c"], ["a,b", "c"]),
        (["--triage-sets", ""], []),
    ],
)
def test_a_list_is_parted_by_commas_or_by_options(run, settings, words, entries):
    assert complete(settings, run(*words), of="x")["triage_sets"] == entries


def test_help_shows_the_defaults_that_say_something(run):
    page = run("--help")
    for words in ("[1000]", "[0]", "[400]", "[MedTriage]", "[yes]", "--ranking shared|position", "--no-permute"):
        assert words in page
    assert "Folder of answers\n" in page
    assert "--no-yes" not in page


def test_an_option_that_does_not_exist_is_told_with_a_likely_one(run):
    assert "--rounds" in run("--ronds", "3")


def test_a_setting_that_is_none_is_refused(settings, tmp_path):
    (tmp_path / "omlab_x" / "settings.toml").write_text(
        '[rounds]\ntype = "int"\ndefault = 1\nhelp = "Rounds"\nunit = "s"\n'
    )
    with pytest.raises(ValidationError, match="unit"):
        read_settings("omlab_x")
