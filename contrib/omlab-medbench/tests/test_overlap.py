"""What a training corpus holds of the questions: n-grams, canaries; and rotations, published folders, submissions."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from omlab.cli.app import build
from omlab.errors import InputError, OmlabError, OutputError, UsageError
from omlab_medbench.evaluation import score
from omlab_medbench.ngrams import COMMON, Ngrams, words
from omlab_medbench.overlap import OverlapSettings, overlap
from omlab_medbench.questions import read_questions
from omlab_medbench.submission import write_submission
from omlab_medbench.tasks import read_tasks

CHINESE = "患者男性六十岁突发胸痛三小时伴大汗淋漓最可能的诊断是什么"
ENGLISH = "A man of sixty years has had chest pain for three hours and sweats: what is the likeliest diagnosis of all?"
POOL = [
    {"set": "Med-Exam", "id": 1, "question": CHINESE, "options": ["w", "x", "y", "z"]},
    {"set": "Med-Exam", "id": 2, "question": ENGLISH, "options": ["w", "x"]},
    {"set": "MedHC", "id": 1, "question": "发烧?"},
    {"set": "MedHC", "id": 2, "question": "孩子咳嗽了两个星期夜里更重没有发热应该怎么办才好呢"},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "pool.jsonl", POOL)
    return tmp_path


def run(*more):
    return CliRunner().invoke(build(), ["medbench", *map(str, more)])


def test_words_are_characters_and_words_whatever_marks_stand_between():
    assert words("发烧,Fever 38.5\uff21!") == ["发", "烧", "fever", "38", "5a"]
    assert words("发 烧\nFEVER, 38. 5A") == ["发", "烧", "fever", "38", "5a"]


@given(st.text(alphabet="abc 发烧\n", max_size=200), st.integers(5, 9))
def test_a_question_within_a_text_is_found_whole_however_the_text_is_cut(text, n):
    looked, found = Ngrams({("s", "1"): ENGLISH}, n=n), {}
    looked.find_in_lines(f"{text} {ENGLISH}\n{text}".replace(" ", " \n").splitlines(), found)
    assert len(found["s", "1"]) == looked.counts["s", "1"] == len(words(ENGLISH)) - n + 1


@given(
    st.lists(st.sampled_from("abcdefgh"), max_size=60), st.lists(st.sampled_from("abcdefgh"), min_size=6, max_size=9)
)
def test_what_is_found_is_what_a_search_finds(text, question):
    looked, found = Ngrams({("s", "1"): " ".join(question)}, n=6), {}
    looked.find(text, found)
    padded = f" {' '.join(text)} "
    expected = {n for n in range(len(question) - 5) if f" {' '.join(question[n : n + 6])} " in padded}
    assert found.get(("s", "1"), set()) == expected


def test_the_wording_of_a_set_is_no_overlap():
    wording = "which one of the following statements is right about"
    texts = {("s", str(n)): f"{wording} the disease called number {n}" for n in range(COMMON + 1)}
    looked, found = Ngrams(texts, n=5), {}
    looked.find(words(wording), found)
    assert found == {}
    assert all(looked.counts.values())


def test_overlap_is_told_by_question_set_and_file(place):
    write(place / "train.jsonl", [{"messages": [{"role": "user", "content": f"请问:{CHINESE}"}]}, {"text": "无关"}])
    (place / "notes.txt").write_text(ENGLISH[:60].replace(" ", "\n"))
    done = run("overlap", "pool.jsonl", "--corpus", "train.jsonl", "--corpus", "notes.txt", "--n", 8, "-o", "found")
    assert done.exit_code == 0, done.output
    report = json.loads((place / "found" / "report.json").read_text())
    assert report["items"] == [["Med-Exam", "1"]]
    assert report["sets"]["Med-Exam"] == {"items": 2, "checked": 2, "overlapping": 1, "share": 0.5}
    assert report["sets"]["MedHC"]["checked"] == 1  # two characters stand in any text
    rows = (place / "found" / "overlap.csv").read_text().splitlines()
    assert 0 < float(rows[2].split(",")[4]) < 0.5
    assert "Overlapping questions" in (place / "found" / "report.html").read_text()
    again = run("overlap", "pool.jsonl", "--corpus", "train.jsonl", "--corpus", "notes.txt", "--n", 8, "-o", "found")
    assert again.exit_code == 0


def test_the_canary_of_a_draw_tells_a_corpus_and_an_answer(place):
    assert run("draw", "pool.jsonl", "--seed", 3, "-o", "draw").exit_code == 0
    items = [json.loads(line) for line in (place / "draw" / "items.jsonl").read_text().splitlines()]
    (canary,) = {item["canary"] for item in items}
    assert canary not in items[0]["question"]
    (place / "corpus").mkdir()
    write(place / "corpus" / "web.jsonl", [{"text": "clean"}, *items])
    done = run("overlap", "pool.jsonl", "--corpus", "corpus", "--draw", "draw", "-o", "found")
    assert done.exit_code == 0, done.output
    assert json.loads((place / "found" / "report.json").read_text())["canaries"] == {canary: ["corpus/web.jsonl"]}
    answers = [{**item, "predict_answer": f"A {canary}", "reference_answer": "A"} for item in items[:2]]
    report = score({"answers": str(write(place / "a.jsonl", answers)), "rounds": 5}, output="board").report
    assert report.details["sets"]["Med-Exam"]["leaked"] == 2
    assert any("hold the draw's canary" in note for note in report.notes)


def test_scores_without_the_items_that_overlap(place):
    write(place / "train.jsonl", [{"text": CHINESE}])
    assert run("overlap", "pool.jsonl", "--corpus", "train.jsonl", "-o", "found").exit_code == 0
    answers = [
        {"set": "Med-Exam", "id": id, "predict_answer": said, "reference_answer": "A"}
        for id, said in ((1, "A"), (2, "B"))
    ]
    settings = {"answers": str(write(place / "a.jsonl", answers)), "overlap": "found", "rounds": 5}
    found = score(settings, output="board").report.details["sets"]["Med-Exam"]
    assert (found["strict"], found["overlapping"], found["clean"]) == (0.5, 1, 0)
    with pytest.raises(InputError, match="nowhere is not a run of 'omlab medbench overlap'"):
        score({**settings, "overlap": "nowhere"}, output="other")


def test_options_in_every_rotation(place):
    assert run("draw", "pool.jsonl", "--circular", "-o", "draw").output.startswith("4 items in 8 rotations")
    items = [json.loads(line) for line in (place / "draw" / "items.jsonl").read_text().splitlines()]
    asked = [item for item in items if item["set"] == "Med-Exam"]
    assert [item["rotation"] for item in asked] == [0, 1, 2, 3, 0, 1]
    for item in asked[:4]:
        assert f"A. {'wxyz'['ABCD'.index(item['letters']['A'])]}" in item["question"]
    assert {item["letters"]["A"] for item in asked[:4]} == set("ABCD")
    # the first is known wherever its option stands, of the second always A is said
    said = [next(shown for shown, real in item["letters"].items() if real == "C") for item in asked[:4]] + ["A", "A"]
    answers = [
        {**item, "predict_answer": letter, "reference_answer": "C" if item["id"] == 1 else "B"}
        for item, letter in zip(asked, said, strict=True)
    ]
    report = score({"answers": str(write(place / "a.jsonl", answers)), "rounds": 5}, output="board").report
    found = report.details["sets"]["Med-Exam"]
    assert (found["items"], found["circular"]) == (2, 0.5)
    assert found["strict"] >= 0.5
    assert "In every rotation" in (place / "board" / "report.html").read_text()


@pytest.fixture
def published(place):
    folder = place / "medbench"
    folder.mkdir()
    exam = [
        {"question": f"题目{n}\\n选哪个?", "options": ["w", "x"], "answer": None, "other": {"source": "s", "id": n}}
        for n in (7, 8)
    ]
    write(folder / "Med-Exam_test.jsonl", exam)
    write(folder / "MedHC_test.jsonl", [{"question": "怎么办?", "options": None, "answer": None, "others": {"id": 3}}])
    return folder


def test_the_published_folder_is_read_drawn_from_and_filled_in(place, published):
    pool = read_questions(published, tasks=read_tasks())
    assert [(row["set"], row["id"]) for row in pool] == [("Med-Exam", "7"), ("Med-Exam", "8"), ("MedHC", "3")]
    assert pool[0]["question"] == "题目7\n选哪个?"
    assert run("draw", "medbench", "-o", "draw").exit_code == 0
    items = [json.loads(line) for line in (place / "draw" / "items.jsonl").read_text().splitlines()]
    answers = write(place / "a.jsonl", [{**item, "predict_answer": "A"} for item in items])
    done = run("submission", "medbench", "--answers", answers, "-o", "sent")
    assert done.output == "3 answers: sent\n"
    for name in ("Med-Exam_test.jsonl", "MedHC_test.jsonl"):
        before, after = (
            [json.loads(line) for line in (folder / name).read_text().splitlines()]
            for folder in (published, place / "sent")
        )
        assert [{**row, "answer": None} for row in after] == before
        assert all(isinstance(row["answer"], str) for row in after)
    first = json.loads((place / "sent" / "Med-Exam_test.jsonl").read_text().splitlines()[0])
    assert first["answer"] == items[0]["letters"]["A"]  # in the order of options as published
    with pytest.raises(OutputError, match="sent exists already"):
        write_submission(published, answers, place / "sent", tasks=read_tasks())


def test_a_submission_answers_every_question_and_no_other(place, published):
    rows = [{"set": "Med-Exam", "id": n, "predict_answer": "A"} for n in (7, 8, 9)]
    tasks = read_tasks()
    for answers, said in (
        (rows, "has no answer to MedHC 3"),
        ([*rows, {**rows[0], "set": "MedHC", "id": 3}], "Exam 9"),
    ):
        with pytest.raises(InputError, match=said):
            write_submission(published, write(place / "a.jsonl", answers), place / "sent", tasks=tasks)
        assert not (place / "sent").exists()


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"corpus": ["nowhere"]}, InputError, "nowhere does not exist"),
        ({"corpus": ["empty"]}, InputError, "empty holds no texts"),
        ({"draws": ["empty"]}, InputError, "empty is not the folder of a draw with a canary"),
        ({"questions": "empty"}, InputError, "empty holds no questions"),
    ],
)
def test_what_cannot_be_looked_for_is_one_sentence(place, more, error, said):
    (place / "empty").mkdir()
    write(place / "train.jsonl", [{"text": "x"}])
    given = {"questions": "pool.jsonl", "corpus": ["train.jsonl"], "draws": []} | more
    paths = {
        name: [place / p for p in value] if isinstance(value, list) else place / value for name, value in given.items()
    }
    with pytest.raises(error, match=said):
        overlap(**paths, settings=OverlapSettings(), output="found")


def test_settings_that_say_nothing_are_refused():
    for more in ({"n": 2}, {"share": 0.0}, {"share": 2.0}):
        with pytest.raises(UsageError, match="must be 5 or more"):
            OverlapSettings(**more)


def test_a_corpus_that_is_no_text_fails_its_file_alone(place):
    (place / "a.txt").write_bytes(b"\xff\xfe\x00")
    (place / "b.txt").write_text(CHINESE)
    done = run("overlap", "pool.jsonl", "--corpus", "a.txt", "--corpus", "b.txt", "-o", "found")
    assert done.exit_code == 1
    assert "a.txt is not UTF-8 text" in done.output
    assert json.loads((place / "found" / "report.json").read_text())["items"] == [["Med-Exam", "1"]]
    with pytest.raises(OmlabError, match=r"both called b\.txt"):
        overlap(place / "pool.jsonl", [place / "b.txt"] * 2, settings=OverlapSettings(), output="other")
