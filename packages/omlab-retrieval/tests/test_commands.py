import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import omlab
from omlab.cases import cases_in
from omlab.errors import InputError, OmlabError, UsageError
from omlab_payloads.embeddings import open_embeddings
from omlab_retrieval import find_like, find_outliers


def rows_of(path):
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def edit(path, change):
    log = json.loads(Path(path).read_text())
    change(log)
    Path(path).write_text(json.dumps(log))


@pytest.fixture
def features(draw, here):
    """A store of eight pictures, four of which are red and four green."""
    draw("known", red=4, green=4)
    omlab.embed("palette", "known", output="features")
    return here / "features"


@pytest.fixture
def photo(draw, here):
    draw("new", seed=5, red=1)
    return here / "new" / "red-0.png"


def test_the_most_alike_are_found_and_shown(features, photo, run):
    status, out, err = run("search", "features", photo, "-k", 5, "-o", "page")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["rank", "neighbour", "similarity", "file"]
    assert [line.split()[0] for line in lines[1:6]] == list("12345")
    assert all("known/red-" in line for line in lines[1:5])
    assert lines[-1] == str(Path.cwd() / "page")
    rows = rows_of("page/neighbours.csv")
    ids, vectors = open_embeddings(features / "embed.safetensors")
    asked = omlab.load_model("palette").embed(omlab.read(photo, kind="patch")).vector
    cosines = vectors @ asked / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked)
    assert [row["neighbour"] for row in rows] == [ids[row] for row in np.argsort(-cosines)[:5]]
    np.testing.assert_allclose([float(row["similarity"]) for row in rows], np.sort(cosines)[::-1][:5], atol=1e-5)
    page = Path("page/report.html").read_text()
    assert page.count("data:image/jpeg") == 6
    assert "Neighbours of “red-0”" in page
    assert "palette.untrained" in page


def test_a_second_start_embeds_nothing_and_gives_the_same(features, photo, run):
    before = run("search", "features", photo, "-o", "page")[1]
    table, log = Path("page/neighbours.csv").read_bytes(), Path("page/cases.jsonl").read_bytes()
    assert run("search", "features", photo, "-o", "page")[:2] == (0, before)
    assert (Path("page/neighbours.csv").read_bytes(), Path("page/cases.jsonl").read_bytes()) == (table, log)
    status, _, err = run("search", "features", photo, "-o", "page", "-k", 2)
    assert status == 2
    assert "of another request" in err


def test_a_page_is_of_the_queries_that_were_asked_for(features, draw, run):
    folder = draw("more", seed=6, red=1, green=2)
    run("search", "features", folder / "red-0.png", "-o", "page")
    run("search", "features", folder / "green-0.png", folder / "green-1.png", "-k", 10, "-o", "page")
    assert {row["query"] for row in rows_of("page/neighbours.csv")} == {"green-0", "green-1"}


def test_a_folder_of_queries_and_json(features, draw, run):
    draw("new", seed=5, red=2, green=1)
    status, out, _ = run("search", "features", "new", "-k", 2, "--json")
    found = json.loads(out)
    assert (status, found["failed"]) == (0, {})
    assert [(row["query"], row["rank"]) for row in found["rows"]] == [
        (query, rank) for query in ("green-0", "red-0", "red-1") for rank in (1, 2)
    ]
    assert Path(found["place"]).parent.name == "omlab-runs"
    assert (Path(found["place"]) / "report.html").is_file()
    shown = run("search", "features", "new", "-k", 5, "-o", "page")[1]
    assert len(shown.splitlines()) == 1 + 3 * 3 + 1 + 1  # the three nearest of each; a hint; the place
    assert "All 15 neighbours of 3 queries are in neighbours.csv." in shown


def test_the_same_file_is_told(features, run):
    shutil.copy("known/red-2.png", "other-name.png")
    found = json.loads(run("search", "features", "other-name.png", "--json")[1])["rows"]
    assert [row["neighbour"] for row in found if row["same_file"]] == [found[0]["neighbour"]] == ["red-2"]
    assert found[0]["similarity"] == 1
    assert len(found) == 8  # ten were asked for


def test_more_neighbours_than_there_are(features, photo, run):
    status, _, err = run("search", "features", photo, "-k", 100)
    assert status == 0
    assert "holds 8 cases: 8 neighbours are looked at, not 100" in err


def test_what_is_no_picture_has_its_name(features, photo, run, here):
    (here / "new" / "volume.txt").write_text("0.9")
    (here / "new" / "broken.png").write_bytes(b"nothing")
    status, _, err = run("search", "features", "new", "-k", 2, "-o", "page")
    assert status == 1
    assert "broken failed" in err
    page = Path("page/report.html").read_text()
    assert '<div class="absent">volume.txt</div>' in page
    assert "Failed cases" in page
    assert {row["query"] for row in rows_of("page/neighbours.csv")} == {"red-0", "volume"}
    found = json.loads(run("search", "features", "new", "-k", 2, "-o", "page", "--json")[1])
    assert list(found["failed"]) == ["broken"]
    (here / "new" / "broken.png").unlink()
    status, _, err = run("search", "features", here / "new" / "volume.txt", "-o", "alone")
    assert status == 0


def test_nothing_could_be_embedded(features, here, run):
    (here / "broken.png").write_bytes(b"nothing")
    status, _, err = run("search", "features", "broken.png", "-o", "page")
    assert status == 1
    assert re.search(r"No query could be embedded: .*broken.png is no picture", err)


def test_settings_options_and_a_file_of_embeddings(draw, photo, run):
    draw("known", red=2, green=2)
    omlab.embed("palette", "known", output="v.safetensors", settings={"offset": 0.2}, options={"blur": True})
    status, out, err = run("search", "v.safetensors", photo, "--json", "-o", "page")
    assert status == 0, err
    asked = omlab.load_model("palette", settings={"offset": 0.2}).embed(omlab.read(photo, kind="patch"), blur=True)
    np.testing.assert_array_equal(open_embeddings(Path("page/queries.safetensors"))[1][0], asked.vector)
    assert {Path(row["file"]).parent.name for row in json.loads(out)["rows"]} == {"known"}
    request = json.loads(Path("page/run.json").read_text())["request"]
    assert (request["model"]["settings"], request["options"]) == ({"offset": 0.2}, {"blur": True})


def test_a_store_of_probes_is_searched_too(draw, photo, run):
    known = draw("known", red=2, green=2)
    session = omlab.load_model("palette")
    cases = cases_in([known], "patch", name="patch")
    path = omlab.features(session, "embed", cases, folder="store")
    assert run("search", path.parent, photo)[0] == 0


def test_a_split_of_a_data_set_is_compared(features, draw, run):
    draw("new", seed=5, red=1, green=2)
    Path("list.csv").write_text(
        "id,patch,split\na,new/red-0.png,test\nb,new/green-0.png,test\nc,new/green-1.png,train\n"
    )
    for verb, column in (("search", "query"), ("outliers", "case")):
        words = [verb, "features", "--data", "cases:list.csv", "--split", "test", "--json", "-o", verb]
        status, out, err = run(*words)
        assert status == 0, err
        assert {row[column] for row in json.loads(out)["rows"]} == {"a", "b"}
    assert json.loads(Path("search/run.json").read_text())["request"]["data"]["name"] == "cases"


def test_queries_that_cannot_be_are_told(features, photo, run):
    status, _, err = run("search", "features", "--data", "nothing:here")
    assert status == 2
    assert "nothing" in err
    status, _, err = run("search", "features", photo, "--data", "nothing:here")
    assert "either files or a data set" in err
    assert "There is no setting 'x' here" in run("search", "features", photo, "-s", "x=1")[2]
    assert "name at least one file" in run("search", "features")[2]


def another_name(log):
    log["request"]["model"]["name"] = "paulette.untrained"


def another_version(log):
    log["request"]["model"]["packages"]["omlab-patches"] = "0.9"


def other_weights(log):
    log["request"]["model"]["weights"]["sha256"] = {"a": "b"}


def local_weights(log):
    log["request"]["model"]["weights"]["tag"] = "local"


def another_card(log):
    log["request"]["model"]["card"] = "0" * 64


def no_model(log):
    del log["request"]["model"]


def unfinished(log):
    log["finished"] = None


def as_jsonl(log):
    log["collected"]["format"] = "jsonl"


def not_collected(log):
    log["collected"] = None


@pytest.mark.parametrize("verb", ["search", "outliers"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (another_name, "made by 'paulette.untrained', which is not found here .*name it with --model"),
        (another_version, "it was omlab-patches 0.9, here it is 1.0"),
        (other_weights, "its weights differ"),
        (local_weights, "made with a local checkpoint: name it with --weights FILE"),
        (another_card, "its card differs"),
        (no_model, "does not say which model made it"),
        (unfinished, "was interrupted: start the same omlab embed again"),
        (as_jsonl, "has what it holds as jsonl"),
        (not_collected, "a run of 'embed' that holds no file of embeddings"),
    ],
)
def test_a_store_that_cannot_be_compared_with(features, photo, run, verb, change, message):
    edit(features / "run.json", change)
    status, _, err = run(verb, "features", photo, "-o", "page")
    assert status == 2
    assert re.search(message, " ".join(err.split()))
    assert not list(Path.cwd().glob("page*"))


def test_the_wrong_model_may_be_named(features, photo, run):
    edit(features / "run.json", another_name)
    status, _, err = run("search", "features", photo, "--model", "palette")
    assert status == 2
    assert "that was 'paulette.untrained'" in err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "does not exist: make one with omlab embed"),
        (lambda folder: folder.mkdir(), "is empty: make one with"),
        (lambda folder: (folder.mkdir(), (folder / "a.png").touch()), "is not the folder of a run"),
        (lambda folder: folder.write_text("x"), "has no place.run.json beside it"),
        (lambda folder: shutil.copytree("features", "place.partial"), "was interrupted"),
    ],
)
def test_a_place_without_embeddings(features, photo, make, message):
    make(Path("place"))
    for find in (find_like, find_outliers):
        with pytest.raises(InputError, match=message):
            find("place", photo)


def test_embeddings_that_are_not_finite_are_named(features, photo, run):
    _, vectors = open_embeddings(features / "embed.safetensors")
    place = vectors.offset + 4 * (5 * vectors.shape[1] + 1)
    with (features / "embed.safetensors").open("r+b") as stream:
        stream.seek(place)
        stream.write(np.float32(np.nan).tobytes())
    for words in (["search", "features", photo], ["outliers", "features", photo], ["outliers", "features"]):
        status, _, err = run(*words, "-o", "page")
        assert status != 0
        assert re.search(r"The embedding of 'red-1' in features/embed.safetensors .*NaN", " ".join(err.split()))
        assert not list(Path.cwd().glob("page*"))


def test_foreign_cases_come_first(draw, run):
    draw("known", red=25, green=25)
    draw("new", seed=9, red=2, blue=2)
    omlab.embed("palette", "known", output="features")
    status, out, err = run("outliers", "features", "new", "-k", 3, "-o", "page")
    assert status == 0, err
    rows = rows_of("page/outliers.csv")
    assert {row["case"] for row in rows[:2]} == {"blue-0", "blue-1"}
    assert [row["knn_above"] for row in rows] == ["95", "95", "0", "0"]
    assert [row["mahalanobis_above"] for row in rows[:2]] == ["95", "95"]
    assert all(row["nearest"].startswith("red") for row in rows[2:])
    assert out.splitlines()[1].split()[3:5] == ["95", "%"]
    page = Path("page/report.html").read_text()
    assert page.count("data:image/jpeg") == 4
    assert "99 %: none, which 99 known cases would allow, not 50" in page
    found = json.loads(run("outliers", "features", "new", "-k", 3, "-o", "page", "--json")[1])
    assert found["rows"][0]["knn_distance"] == float(rows[0]["knn_distance"])


def test_outliers_among_the_known_need_no_model(draw, run):
    draw("known", red=25, blue=1)
    omlab.embed("palette", "known", output="features")
    edit("features/run.json", another_version)
    status, out, err = run("outliers", "features", "-o", "page")
    assert status == 0, err
    assert out.splitlines()[1].split()[1] == "blue-0"
    assert out.splitlines()[-1] == str(Path.cwd() / "page")
    rows = rows_of("page/outliers.csv")
    assert len(rows) == 26
    assert rows[0]["file"].endswith("known/blue-0.png")
    assert run("outliers", "features", "-o", "page")[0] == 0
    assert json.loads(run("outliers", "features", "--json")[1])["rows"][0]["case"] == "blue-0"


def test_few_known_cases(draw, run):
    draw("known", red=1)
    draw("two", red=2)
    draw("new", seed=5, green=1)
    omlab.embed("palette", "known", output="one")
    for words in (["one"], ["one", "new"]):
        status, _, err = run("outliers", *words)
        assert status == 2
        assert "one holds one case: what is foreign is told by at least 2 known ones" in err
    assert run("search", "one", "new")[0] == 0
    omlab.embed("palette", "two", output="pair")
    status, out, err = run("outliers", "pair", "new", "--json")
    assert "1 neighbours are looked at, not 10" not in out
    row = json.loads(out)["rows"][0]
    assert (row["mahalanobis"], row["mahalanobis_below"], row["knn_above"]) == (None, None, 0)
    assert run("outliers", "pair", "-o", "page")[0] == 0


def test_functions_check_what_they_are_given(features, photo):
    with pytest.raises(UsageError, match="number of neighbours is 0"):
        find_like("features", photo, k=0)
    with pytest.raises(UsageError, match="number of neighbours is -1"):
        find_outliers("features", k=-1)
    with pytest.raises(OmlabError, match="nowhere"):
        find_like("features", "nowhere.png")
