"""What cases are called: by their file, whatever else is given, and never as another input was."""

import time
from itertools import permutations
from pathlib import Path

import pytest

import omlab
from omlab.errors import InputError, UsageError

pytestmark = pytest.mark.usefixtures("here")


def scan(path, *values):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("signal\n" + "\n".join(map(str, values)))
    return Path(path)


def predict(*paths, output="out", **more):
    return omlab.predict("adder", list(paths), output=output, **more)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def results(folder):
    return {path.name: omlab.read(path).values for path in Path(folder).glob("*.sig.txt")}


def test_three_patients_in_turn_with_scans_of_one_name_keep_all_three():
    for number in range(3):
        scan(f"p{number}/ct.sig", number)
    for number in range(3):
        assert not predict(f"p{number}/ct.sig").was_complete
    assert results("out") == {"ct.sig.txt": [1], "p1-ct.sig.txt": [2], "p2-ct.sig.txt": [3]}
    for number in (2, 0, 1):
        assert predict(f"p{number}/ct.sig").was_complete
    assert predict("p0/ct.sig", "p1/ct.sig", "p2/ct.sig", output="at once").counts == (3, 0)
    assert set(results("at once")) == {"p0-ct.sig.txt", "p1-ct.sig.txt", "p2-ct.sig.txt"}


def test_a_changed_scan_takes_the_place_of_what_it_was():
    path = scan("p0/ct.sig", 1)
    predict(path)
    scan("p0/ct.sig", 1, 2)
    assert set(predict(path).cases) == {"ct"}
    assert results("out") == {"ct.sig.txt": [2, 3]}


def test_a_case_whose_input_refers_to_a_file_that_changed_is_done_again():
    Path("notes.tsv").write_text("a\tSee a.png\nb\tsee b.png\n")

    def done():
        outcome = omlab.apply_verb("generate", "teller", "notes.tsv", output="out")
        return not outcome.was_complete and [id for id, record in outcome.cases.items() if record.at >= began]

    for name in "ab":
        Path(f"{name}.png").write_text(name)
    began = time.time()
    assert done() == ["a", "b"]
    assert done() is False
    began = time.time()
    Path("a.png").write_text("another")
    assert done() == ["a"]
    began = time.time()
    Path("b.png").unlink()
    assert done() == ["b"]


def test_a_scan_that_was_moved_is_found_again():
    predict(scan("p0/ct.sig", 1))
    Path("p0").rename("elsewhere")
    assert predict("elsewhere/ct.sig").was_complete


def test_where_no_name_is_left_it_is_refused():
    deep = "a/b/c/d/e"
    for top in "xyz":
        scan(f"{top}/{deep}/ct.sig", ord(top))
    with pytest.raises(InputError, match=r"Several inputs would be case '.*ct'"):
        predict(f"x/{deep}/ct.sig", f"y/{deep}/ct.sig")


def test_a_case_of_a_data_set_is_never_put_in_the_place_of_another():
    omlab.predict("adder", data="ramps", root="one", output="out")
    scan("two/c.sig", 7, 7, 7, 7)
    with pytest.raises(UsageError, match=r"holds a case 'c' of another input than two/c\.sig: choose another output"):
        omlab.predict("adder", data="ramps", root="two", output="out")
    assert results("out")["c.sig.txt"] == [3, 4, 5, 6]


def test_the_same_file_twice_is_one_case():
    path = scan("ct.sig", 1)
    Path("link.sig").symlink_to("ct.sig")
    assert set(predict(path, path, path.absolute(), Path("../here/ct.sig"), "link.sig").cases) == {"ct"}


def test_ids_do_not_depend_on_the_order_of_inputs():
    paths = [scan("x/ct.sig", 1), scan("y/ct.sig", 2), scan("y/mr.sig", 3)]
    found = set()
    for number, order in enumerate(permutations(paths)):
        outcome = predict(*order, output=f"out{number}")
        found.add(tuple(sorted((id, record.inputs["signal"][0]["path"]) for id, record in outcome.cases.items())))
    assert len(found) == 1
    assert [id for id, _ in next(iter(found))] == ["mr", "x-ct", "y-ct"]


def test_ids_of_a_folder_do_not_depend_on_what_lies_beside_it():
    scan("study/p1/ct.sig", 1)
    scan("study/p2/ct.sig", 2)
    before = set(predict("study").cases)
    scan("other/p1/ct.sig", 3)
    scan("notes.sig", 4)
    assert set(predict("study", output="again").cases) == before == {"p1-ct", "p2-ct"}


def test_ids_with_what_no_file_name_holds():
    Path("notes.tsv").write_text("a/b\tx\n..\ty\nfine\tz\n")
    outcome = omlab.apply_verb("generate", "teller", "notes.tsv", output="out")
    assert set(outcome.cases) == {"a/b", "..", "fine"}
    odd = scan("we?ird.sig", 1).rename(":na me!.sig")
    outcome = predict(odd, output="odd")
    assert set(outcome.cases) == {":na me!"}
    [main] = [row["path"] for row in outcome.cases[":na me!"].outputs if row["role"] == "main"]
    assert main.startswith("_na me_-")
    assert "/" not in main


def test_results_inside_the_input_folder_are_not_the_next_inputs():
    scan("scans/a.sig", 1)
    scan("scans/sub/x.sig", 9)
    for _ in range(2):
        assert set(predict("scans", output="scans/out").cases) == {"a"}
    one = omlab.predict("adder", "scans/a.sig", output="scans/seg.sig")
    assert names("scans") == ["a.sig", "out", "seg.notes", "seg.sig", "seg.sig.run.json", "sub"]
    assert one.exit_status == 0
    assert set(predict("scans", output="scans/out").cases) == {"a"}
    Path("scans/a.sig").unlink()
    Path("scans/seg.sig").unlink()
    assert set(predict("scans", output="third").cases) == {"sub-x"}  # nor what stands beside a result


def test_an_interrupted_run_inside_the_input_folder_is_not_an_input():
    scan("scans/p1/a.sig", 1)
    predict("scans", output="scans/out")
    Path("scans/out").rename("scans/out.partial")
    assert set(predict("scans", output="elsewhere").cases) == {"p1-a"}


def test_hidden_files_are_no_inputs_and_a_folder_without_any_says_so():
    scan("scans/.hidden.sig", 1)
    Path("scans/.folder").mkdir()
    with pytest.raises(InputError, match="The folder scans holds nothing to read as a signal"):
        predict("scans")
    scan("scans/p1/a.sig", 1)
    Path("scans/p2").mkdir()
    assert set(predict("scans").cases) == {"p1-a"}  # an empty folder among others is passed over
