"""The command as a user runs it: every form of answer, intervals, errors; and the drawing of items."""

import json

import pytest
from click.testing import CliRunner

import omlab
from omlab.cli.app import build
from omlab.errors import InputError, UsageError
from omlab_medbench.draw import DrawSettings, draw
from omlab_medbench.evaluation import score
from omlab_medbench.tasks import read_tasks

EVENT = {"主体词": "疼痛", "发生状态": "不确定", "描述词": ["轻度", "间断"], "解剖部位": []}
EVENT_TEXT = "主体词\uff1a疼痛\uff1b发生状态\uff1a不确定\uff1b描述词\uff1a间断\uff0c轻度\uff1b解剖部位\uff1a空"
RELATION = {"predicate": "病因", "subject": "感冒", "object": "病毒"}

# set, prediction, reference, compat, strict
ROWS = [
    ("Med-Exam", "AC", "AC", 0.0, 1.0),  # the public code takes 'AC' for no letters
    ("Med-Exam", "B", ["B"], 1.0, 1.0),
    ("MedHC", "", "多喝水", None, 0.0),  # skipped, or a zero
    ("MedHC", "多喝水", "多喝水", 1.0, 1.0),
    ("MedHG", "小儿消化内科", ["消化内科"], 1.0, 1.0),
    ("IMCS-V2-MRG", "主诉\uff1a腹痛", [{"type": "主诉", "entity": "腹痛"}], 1.0, 1.0),
    ("DBMHG", "主诉\uff1a腹痛\n既往史\uff1a无", {"主诉": "腹痛", "既往史": "有"}, None, 0.5),
    ("CMeEE", "药物\uff1aa\uff0c", [{"type": "药物", "entity": "a"}], 2 / 3, 1.0),
    ("CMeIE", '关系:"病因",头实体:"感冒",尾实体:"病毒"', [RELATION], 1.0, 1.0),
    ("CHIP-CDEE", EVENT_TEXT, [EVENT], 0.0, 1.0),  # lists in another order
    ("SMDoc", "体温\uff1a36.5", [{"type": "体温", "entity": "36.5"}], 1.0, 1.0),
    ("CHIP-CDN", "甲\n乙", ["甲", "乙"], 2 / 3, 1.0),  # the public code reads the last line alone
    ("CHIP-CTC", "疾病", "疾病", 1.0, 1.0),
    ("MedSafety", "答案是B", "B", 1.0, 1.0),
]  # fmt: skip


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def answered(rows=ROWS):
    return [
        {"set": name, "id": n, "predict_answer": predicted, "reference_answer": reference}
        for n, (name, predicted, reference, *_) in enumerate(rows)
    ]


def run(output, **settings):
    outcome = score(settings, output=output)
    assert outcome.exit_status == 0
    return json.loads((outcome.place / "report.json").read_text())


def test_every_form_of_answer_has_both_scores(tmp_path):
    report = run(tmp_path / "board", answers=write(tmp_path / "answers.jsonl", answered()))
    for name, row in report["sets"].items():
        expected = [wanted for wanted in ROWS if wanted[0] == name]
        compat = [wanted[3] for wanted in expected if wanted[3] is not None]
        assert row["strict"] == pytest.approx(sum(e[4] for e in expected) / len(expected), abs=1e-6), name
        assert row["compat"] == (pytest.approx(sum(compat) / len(compat), abs=1e-6) if compat else None), name
        assert row["low"] <= row["strict"] <= row["high"]
    assert report["sets"]["DBMHG"]["sections"] == pytest.approx({"主诉": 1, "既往史": 0}, abs=1e-6)
    assert report["sets"]["MedHC"]["blank"] == 1
    assert set(report["dimensions"]) == {"knowledge", "generation", "reasoning", "understanding", "safety"} - {
        "reasoning"
    }
    knowledge = report["dimensions"]["knowledge"]
    assert knowledge["sets"] == ["Med-Exam", "MedHC", "MedHG"]
    assert knowledge["strict"] == pytest.approx((1 + 0.5 + 1) / 3, abs=1e-6)
    values = [row["strict"] for row in report["dimensions"].values()]
    assert report["total"]["strict"] == pytest.approx(sum(values) / len(values))
    assert any("no answers to: Complex reasoning" in note for note in report["notes"])
    page = (tmp_path / "board" / "report.html").read_text()
    for words in ("By dimension", "Records by section", "Compatible", "Provenance"):
        assert words in page
    assert (tmp_path / "board" / "scores.csv").read_text().count("\n") == 1 + len(report["sets"])


def test_references_may_lie_apart(tmp_path):
    rows = answered()
    together = run(tmp_path / "one", answers=write(tmp_path / "answers.jsonl", rows))
    answers = [{k: v for k, v in row.items() if k != "reference_answer"} for row in rows]
    references = [{k: v for k, v in row.items() if k != "predict_answer"} for row in rows]
    apart = run(
        tmp_path / "two",
        answers=write(tmp_path / "a.jsonl", answers),
        references=write(tmp_path / "r.jsonl", references),
    )
    assert apart["sets"] == together["sets"]
    write(tmp_path / "a.jsonl", answers[1:])
    with pytest.raises(InputError, match="lacks 1 answers; the first is Med-Exam 0"):
        run(tmp_path / "three", answers=str(tmp_path / "a.jsonl"), references=str(tmp_path / "r.jsonl"))


def test_the_interval_of_a_set_does_not_depend_on_the_others(tmp_path):
    rows = answered()
    every = run(tmp_path / "one", answers=write(tmp_path / "a.jsonl", rows), seed=7)
    some = run(tmp_path / "two", answers=write(tmp_path / "b.jsonl", rows[:4]), seed=7)
    assert some["sets"]["MedHC"] == every["sets"]["MedHC"]
    none = run(tmp_path / "three", answers=str(tmp_path / "b.jsonl"), rounds=0)
    assert none["total"]["low"] is None


def test_standard_terms_and_permuted_letters(tmp_path):
    rows = answered([("CHIP-CDN", "甲\uff0c丙", ["甲"], 1, 1)])
    (tmp_path / "terms.txt").write_text("甲\n乙\n")
    found = run(tmp_path / "one", answers=write(tmp_path / "a.jsonl", rows), terms=str(tmp_path / "terms.txt"))
    assert found["sets"]["CHIP-CDN"]["strict"] == found["sets"]["CHIP-CDN"]["compat"] == 1
    permuted = {**answered([("Med-Exam", "选A、C", "BC", 1, 1)])[0], "letters": {"A": "B", "B": "A", "C": "C"}}
    found = run(tmp_path / "two", answers=write(tmp_path / "b.jsonl", [{**permuted, "prompt": "2"}]))
    assert found["sets"]["Med-Exam"]["strict"] == found["sets"]["Med-Exam"]["compat"] == 1
    assert found["sets"]["Med-Exam"]["prompts"] == {"2": 1.0}


GOOD = {"set": "Med-Exam", "id": 1, "predict_answer": "A", "reference_answer": "A"}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "holds no answers"),
        ([GOOD, GOOD], "line 2: Med-Exam 1 is answered in line 1 already"),
        ([{**GOOD, "set": "Exam"}], "line 1: the set is 'Exam', but must be one of"),
        ([{**GOOD, "id": None}], "line 1: 'id' is missing"),
        ([{**GOOD, "predict_answer": None}], "line 1: 'predict_answer' is missing or no text"),
        ([{k: GOOD[k] for k in ("set", "id", "predict_answer")}], "line 1: there is no reference answer"),
        ([{**GOOD, "reference_answer": 3}], "line 1: the reference is not of the form 'letters'"),
        ([{**GOOD, "set": "CMeEE"}], "line 1: the reference is not of the form 'entities'"),
        ([{**GOOD, "letters": {"A": "B"}}], "line 1: 'letters' must map"),
    ],
)
def test_wrong_answers_are_one_sentence_with_their_line(tmp_path, rows, sentence):
    with pytest.raises(InputError, match=sentence):
        run(tmp_path / "board", answers=write(tmp_path / "answers.jsonl", rows))
    assert not (tmp_path / "board").exists()


def test_without_answers_it_says_so(tmp_path):
    with pytest.raises(UsageError, match="--answers FILE"):
        run(tmp_path / "board")
    with pytest.raises(InputError, match=r"nowhere\.jsonl cannot be read"):
        run(tmp_path / "board", answers="nowhere.jsonl")
    (tmp_path / "tasks.toml").write_text('version = "x"\n')
    with pytest.raises(InputError, match=r"tasks\.toml must have"):
        run(tmp_path / "board", answers="nowhere.jsonl", tasks=str(tmp_path / "tasks.toml"))


def pool(count=60):
    return [
        {"set": "Med-Exam", "id": n, "question": f"q{n}?", "options": ["w", "x", "y", "z"],
         "specialty": "rare" if n % 20 == 0 else "common"}
        for n in range(count)
    ]  # fmt: skip


def test_items_are_drawn_by_stratum_and_the_same_for_a_seed():
    tasks, settings = read_tasks(), DrawSettings(count=10, least=2, seed=5)
    items = draw(pool(), settings=settings, tasks=tasks)
    assert items == draw(pool(), settings=settings, tasks=tasks)
    assert items != draw(pool(), settings=DrawSettings(count=10, least=2, seed=6), tasks=tasks)
    assert len(items) == 10
    assert sum(item["id"] % 20 == 0 for item in items) >= 2
    assert len({item["prompt"] for item in items}) > 1
    assert len({json.dumps(item["letters"]) for item in items}) > 1
    for item in items:
        for shown, original in item["letters"].items():
            assert f"{shown}. {'wxyz'['ABCD'.index(original)]}" in item["question"]


def test_a_new_draw_avoids_the_items_of_the_last_as_far_as_it_can():
    tasks = read_tasks()
    first = {("Med-Exam", str(n)) for n in range(30)}
    items = draw(pool(), settings=DrawSettings(count=30), tasks=tasks, before=first)
    assert not first & {("Med-Exam", str(item["id"])) for item in items}
    more = draw(pool(), settings=DrawSettings(count=40), tasks=tasks, before=first)
    assert sum(("Med-Exam", str(item["id"])) in first for item in more) == 10


def test_the_commands_draw_record_and_score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "questions.jsonl", pool())
    runner = CliRunner()
    arguments = ["medbench", "draw", "questions.jsonl", "--count", "20", "--seed", "3"]
    done = runner.invoke(build(), [*arguments, "-o", "one"])
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "one" / "draw.json").read_text())
    assert record["seed"] == 3
    assert len(record["items"]) == len((tmp_path / "one" / "items.jsonl").read_text().splitlines()) == 20
    assert len(record["questions"]["files"]["questions.jsonl"]) == 64
    done = runner.invoke(build(), [*arguments, "-o", "two", "--previous", "one"])
    assert "20 items, 0 of them drawn before: two" in done.output
    answers = [
        {**json.loads(line), "predict_answer": "A", "reference_answer": "A"}
        for line in (tmp_path / "two" / "items.jsonl").read_text().splitlines()
    ]
    write(tmp_path / "answers.jsonl", answers)
    done = runner.invoke(build(), ["medbench", "score", "--answers", "answers.jsonl", "--rounds", "10", "-o", "board"])
    assert done.exit_code == 0, done.output
    assert "Med-Exam" in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "board")
    found = json.loads((tmp_path / "board" / "report.json").read_text())
    assert found["sets"]["Med-Exam"]["items"] == 20
    assert len(found["sets"]["Med-Exam"]["prompts"]) > 1
    assert isinstance(runner.invoke(build(), [*arguments, "-o", "one"]).exception, omlab.OmlabError)
