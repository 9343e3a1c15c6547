import json

import pytest
from click.testing import CliRunner

from omlab.cli.doctor import doctor
from omlab.sizes import installed_distributions, needed_by, size_of, weigh


@pytest.fixture
def write(site):
    """Install a distribution with requirements and a file of a size; none: its installer wrote nothing down."""

    def run(name, *requires, size=None):
        info = site / f"{name.replace('-', '_').lower()}-2.0.dist-info"
        info.mkdir()
        rows = "".join(f"Requires-Dist: {row}\n" for row in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n{rows}")
        if size is not None:
            rows = [f'"{name}, a/module.py",sha256=x,{size}', f"{info.name}/RECORD,,", "cached.pyc,,"]
            (info / "RECORD").write_text("\n".join(rows))

    return run


def test_what_is_needed_is_followed_with_the_extras_that_are_asked_for(write):
    write("Omlab_Test.Model", "Needed[Fast]>=1 ; python_version > '3'", "optional; extra == 'plots'", "not-here")
    write(
        "needed", "only_fast; extra == 'fast' and sys_platform != 'none'", 'never; extra == "slow"', "omlab-test-model"
    )
    for name in ("only-fast", "never", "optional"):
        write(name)
    assert needed_by("omlab_test-model", installed_distributions()) == {"needed", "only-fast"}
    assert needed_by("nothing-like-this", installed_distributions()) == set()


def test_an_extra_that_is_asked_for_later_counts_too(write):
    write("omlab-two", "shared", "other")
    write("other", "shared[more]")
    write("shared", "extra-part; extra == 'more'")
    write("extra-part")
    assert needed_by("omlab-two", installed_distributions()) == {"shared", "other", "extra-part"}


def test_packages_are_weighed_without_what_the_core_has(write):
    write("omlab-heavy", "omlab-core", "click", "big-library", "small-library", "unknown-library", size=1234)
    write("big-library", size=5_000_000_000)
    write("small-library", size=10)
    write("unknown-library")
    found = next(one for one in weigh() if one.name == "omlab-heavy")
    assert (found.version, found.size) == ("2.0", 1234)
    assert list(found.brought.items()) == [
        ("big-library", 5_000_000_000),
        ("small-library", 10),
        ("unknown-library", None),
    ]
    assert next(one for one in weigh() if one.name == "omlab-core").brought == {}


def test_a_checkpoint_in_a_package_is_no_list_of_folders(write, site):
    write("omlab-weighty", size=7)
    (site / "omlab_weighty").mkdir()
    (site / "omlab_weighty" / "net.pth").write_bytes(b"\x80\x02\x8a\nl\xfc")
    info = site / "omlab_weighty-2.0.dist-info"
    (info / "RECORD").write_text((info / "RECORD").read_text() + "\nomlab_weighty/net.pth,sha256=x,6\n")
    assert size_of(installed_distributions()["omlab-weighty"]) == 13


def test_a_package_that_is_edited_in_place_weighs_its_sources(write, site, tmp_path):
    source = tmp_path / "source"
    (source / "pkg" / "__pycache__").mkdir(parents=True)
    (source / "pkg" / "a.py").write_text("x" * 100)
    (source / "pkg" / "__pycache__" / "a.pyc").write_text("x" * 999)
    write("omlab-edited", size=7)
    info = site / "omlab_edited-2.0.dist-info"
    (site / "_edited.pth").write_text(f"{source}\nimport nothing\n")
    (info / "RECORD").write_text((info / "RECORD").read_text() + "\n_edited.pth,sha256=x,5\ngone.pth,sha256=x,1\n")
    assert size_of(installed_distributions()["omlab-edited"]) == 7 + 5 + 1 + 100


def test_doctor_tells_sizes(write):
    write("omlab-heavy", "big-library", size=1234)
    write("big-library", size=5_000_000_000)
    packages = json.loads(CliRunner().invoke(doctor, ["--json"]).stdout)["packages"]
    heavy = {"name": "omlab-heavy", "version": "2.0", "size": 1234, "brought": {"big-library": 5_000_000_000}}
    assert heavy in packages
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(doctor).stdout.splitlines()
    line = next(line for line in shown if line.startswith("omlab-heavy ") and "kB" in line)
    assert line.split() == ["omlab-heavy", "1", "kB", "1", "5.0", "GB", "big-library", "5.0", "GB"]
