"""The commands as a user runs them: what `board/` holds, against the golden numbers; and wrong input."""

import csv
import json
import re
import subprocess
import sys
import warnings
from dataclasses import fields
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import omlab
import omlab_pulse_eval
from omlab.cli.app import build
from omlab.cli.setting_options import read_settings
from omlab.errors import InputError, OmlabWarning, SettingsError, UsageError
from omlab_pulse_eval.evaluation import evaluate
from omlab_pulse_eval.philox import keyed_uniform
from omlab_text.judging.opening import JudgeSettings

GOLDEN = Path(__file__).parent / "golden"
SETS = ("MedQA-USMLE", "WebMedQA", "CheckupQA", "MedTriage")


def golden(name):
    return json.loads((GOLDEN / name).read_text())


def run(output, **settings):
    """Evaluate, and read the report as it lies in the folder."""
    outcome = evaluate(settings, output=output)
    assert outcome.exit_status == 0
    return json.loads((outcome.place / "report.json").read_text())


def column(report, name):
    return {model: row[name] for model, row in report["models"].items()}


def battle_file(name):
    return str(GOLDEN / f"battles-{name}.csv")


@pytest.mark.parametrize("name", SETS)
def test_a_battle_log_gives_the_golden_ratings(tmp_path, name):
    case = golden(f"ratings-{name}.json")
    report = run(tmp_path / "board", battles=[battle_file(name)], rounds=1000, seed=0)
    assert column(report, "online") == pytest.approx(case["online"], abs=1e-6)
    assert column(report, "bradley_terry") == pytest.approx(case["bradley_terry"], abs=1e-4)
    assert column(report, "win_share") == pytest.approx(case["average_win_rate_without_ties"], abs=1e-6)
    assert report["sets"][name]["outcomes"] == case["outcomes"]
    limit = case["bootstrap_limit"]
    for model, row in report["models"].items():
        assert abs(row["median"] - limit["median"][model]) <= 4 * limit["scatter_1000"][model]
        assert row["low"] == pytest.approx(limit["low_2_5"][model], abs=4)
        assert row["high"] == pytest.approx(limit["high_97_5"][model], abs=4)
        if "published" in case:
            assert abs(int(row["median"] + 0.5) - case["published"][model]) <= 2
    medians = sorted(column(report, "median").values(), reverse=True)
    assert [row["rank"] for row in report["models"].values()] == [1 + medians.index(m) for m in medians]


@pytest.mark.parametrize("name", SETS)
def test_explicit_draws_give_the_golden_bootstrap(tmp_path, name):
    case = golden(f"ratings-{name}.json")["bootstrap_exact"]
    count = golden(f"ratings-{name}.json")["count"]
    rounds = [np.floor(keyed_uniform("elo-bootstrap", f"{name}/{r}", count) * count).astype(int) for r in range(20)]
    (tmp_path / "draws.json").write_text(json.dumps([r.tolist() for r in rounds]))
    (tmp_path / "first.json").write_text(json.dumps([rounds[0].tolist()]))
    log = battle_file(name)
    explicit = run(tmp_path / "a", battles=log, indices=str(tmp_path / "draws.json"))
    assert column(explicit, "median") == pytest.approx(case["median"], abs=1e-6)
    if name != SETS[0]:
        return
    first = run(tmp_path / "b", battles=log, indices=str(tmp_path / "first.json"))
    assert column(first, "median") == pytest.approx(case["first_round"], abs=1e-6)
    keyed = run(tmp_path / "c", battles=log, salt="elo-bootstrap", rounds=20)
    assert column(keyed, "median") == column(explicit, "median")


def test_triage_gives_the_golden_figures_and_ranks(tmp_path):
    report = run(
        tmp_path / "board",
        triage=str(GOLDEN / "triage-predictions.csv"),
        departments=str(GOLDEN / "departments.json"),
    )
    expected = golden("triage-expected.json")["models"]
    for name in ("hits", "predicted", "labelled", "exact"):
        assert column(report, name) == {model: row[name] for model, row in expected.items()}
    for name in ("precision", "recall", "f1", "accuracy"):
        assert column(report, name) == pytest.approx({m: row[name] for m, row in expected.items()}, abs=1e-9)
    assert list(column(report, "rank").values()) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("rule", "name"),
    [("shared", "fractional"), ("shared-rounded", "fractional_f1_2_decimals"), ("position", "published_table2")],
)
def test_finished_scores_are_ranked_exactly(tmp_path, rule, name):
    case = golden("average-rank.json")
    order = case["published_table2"]["row_order"]
    scores = str(GOLDEN / "average-rank.json")
    report = run(tmp_path / "board", scores=scores, ranking=rule, row_order=order)
    assert report["average_rank"][rule] == case[name]["average"]
    assert column(report, "average_rank") == case[name]["average"]
    assert report["average_rank"]["rule"] == rule


def test_several_sets_and_triage_have_a_pooled_rating_and_an_average_rank(tmp_path):
    report = run(
        tmp_path / "board",
        battles=[battle_file(name) for name in SETS],
        triage=str(GOLDEN / "triage-predictions.csv"),
        rounds=30,
    )
    assert report["average_rank"]["columns"] == ["MedQA-USMLE", "WebMedQA", "CheckupQA", "triage F1"]
    assert sum(row["battles"] for row in report["models"].values()) == 2 * 4 * 660
    assert report["models"]["GPT-4"]["rank"] == 1
    assert report["models"]["MING"]["rank"] is None  # no triage figure, hence no average rank
    assert any("MedTriage do not count" in note for note in report["notes"])
    rows = list(csv.DictReader((tmp_path / "board" / "leaderboard.csv").read_text().splitlines()))
    assert len(rows) == 5 * 12
    assert {row["set"] for row in rows} == {*SETS, "all sets"}


def test_the_board_is_a_page_with_tables(tmp_path):
    run(tmp_path / "board", battles=battle_file("WebMedQA"), rounds=20)
    names = sorted(path.name for path in (tmp_path / "board").iterdir())
    assert names == ["cases.jsonl", "leaderboard.csv", "report.html", "report.json", "run.json", "win_shares.csv"]
    page = (tmp_path / "board" / "report.html").read_text()
    for words in ("Ratings", "Win shares", "Bias of the judge", "Bradley-Terry", "Provenance", "2 of 660 replies"):
        assert words in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    shares = list(csv.reader((tmp_path / "board" / "win_shares.csv").read_text().splitlines()))
    assert len(shares) == len(shares[0]) == 13


@pytest.mark.parametrize(
    ("settings", "headline"),
    [
        ({"rounds": 200}, "Highest rating"),  # models of these battles are close to each other
        ({"rounds": 0}, "Highest rating"),
        ({"rounds": 200, "battles": "apart.csv"}, "First"),
    ],
)
def test_a_model_is_called_the_first_only_where_no_interval_reaches_its(tmp_path, monkeypatch, settings, headline):
    monkeypatch.chdir(tmp_path)
    Path("apart.csv").write_text("model_a,model_b,winner\n" + "good,bad,model_a\n" * 40 + "bad,good,model_b\n" * 40)
    report = run(tmp_path / "board", **{"battles": battle_file("WebMedQA"), **settings})
    leader, *others = report["models"].values()
    page = (tmp_path / "board" / "report.html").read_text()
    assert f"<dt>{headline}</dt>" in page
    assert f'<span class="value">{next(iter(report["models"]))}</span>' in page
    assert (headline == "First") == (leader["low"] is not None and all(row["high"] < leader["low"] for row in others))
    assert ("not certainly the first" in page) == (headline != "First")


def test_without_a_bootstrap_models_are_ranked_by_their_online_rating(tmp_path):
    report = run(tmp_path / "board", battles=battle_file("WebMedQA"), rounds=0)
    online = list(column(report, "online").values())
    assert online == sorted(online, reverse=True)
    assert set(column(report, "median").values()) == {None}


@pytest.fixture
def replies(tmp_path, answers):
    """Recorded replies to the tournament of `answers`, as a judge's run would leave them."""
    from omlab_pulse_eval.schedule import schedule

    folder = tmp_path / "replies"
    folder.mkdir()
    with (folder / "exam.jsonl").open("w") as stream:
        for seats in schedule(["alpha", "beta", "gamma"], items=100):
            longer = ("alpha", "beta", "gamma").index(seats.first) > ("alpha", "beta", "gamma").index(seats.second)
            row = {"set": "exam", **vars(seats), "reply": "9 2\nlonger" if longer else "2 9\nshorter"}
            stream.write(json.dumps(row) + "\n")
    return folder


def test_recorded_replies_are_replayed(tmp_path, answers, replies):
    report = run(tmp_path / "board", answers=str(answers), judge=f"recorded:{replies}", rounds=50)
    assert list(report["models"]) == ["gamma", "beta", "alpha"]
    exam = report["sets"]["exam"]
    assert exam["battles"] == 30
    assert exam["longer_answer"]["share"] == 1
    assert exam["judging"]["judge"] == "recorded"
    log = tmp_path / "board" / "battles" / "exam.csv"
    again = run(tmp_path / "again", battles=str(log), rounds=50)
    assert again["models"] == report["models"]


def test_a_missing_reply_is_said_before_anything_starts(tmp_path, answers, replies):
    lines = (replies / "exam.jsonl").read_text().splitlines()
    (replies / "exam.jsonl").write_text("\n".join(lines[:-2]))
    with pytest.raises(InputError, match="no reply to 2 of the 30 battles of exam; the first is item"):
        run(tmp_path / "board", answers=str(answers), judge=f"recorded:{replies}")
    assert not list(tmp_path.glob("board*"))


def test_blank_answers_are_passed_over_and_a_triage_set_is_not_judged(tmp_path, write_answers):
    answers = write_answers(tmp_path / "answers", sets=("MedTriage",), items=3, reference="alpha-1|x")
    report = run(tmp_path / "board", answers=str(answers))
    assert report["sets"]["MedTriage"]["kind"] == "triage"
    assert report["models"]["alpha"]["hits"] == 1


LINE = json.dumps({"question": "q0?", "predict_answer": "a"}) + "\n"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("beta", "", r"beta\.jsonl is empty"),
        ("beta", "{", r"beta\.jsonl, line 1 is not JSON"),
        ("beta", "[1]\n", r"beta\.jsonl, line 1 is not a JSON object"),
        ("beta", LINE + '{"question": "q1?"}\n', r"beta\.jsonl, line 2: the field 'predict_answer' is missing"),
        ("beta", LINE + LINE, r"beta\.jsonl, line 2: the question is that of line 1 again"),
        ("beta", LINE.replace('"a"', "7"), r"beta\.jsonl, line 1: 'predict_answer' must be text, not 7"),
        (
            "beta",
            LINE.replace("q0", " q0"),
            r"line 1: the question differs from that in alpha\.jsonl, line 1",
        ),
        ("beta", LINE, r"beta\.jsonl has 1 answers, but alpha\.jsonl has 100"),
        ("beta", None, r"beta\.jsonl holds the same answers as alpha\.jsonl"),
        ("ALPHA", LINE, "are both answers of one model"),
        ("beta", LINE.replace('"a"', '"\\ud800"'), "line 1: 'predict_answer' holds half a character"),
    ],
)
def test_wrong_answers_are_one_sentence_with_file_and_line(tmp_path, answers, name, text, sentence):
    text = (answers / "exam" / "alpha.jsonl").read_text() if text is None else text
    text = text.replace("q0?", "exam question 0?")
    (answers / "exam" / f"{name}.jsonl").write_text(text)
    with pytest.raises(InputError, match=sentence):
        run(tmp_path / "board", answers=str(answers), judge=f"recorded:{answers}")
    assert not list(tmp_path.glob("board*"))


def test_a_model_without_answers_to_a_set_is_named(tmp_path, write_answers):
    answers = write_answers(tmp_path / "answers", sets=("exam", "talk"))
    (answers / "talk" / "beta.jsonl").unlink()
    with pytest.raises(InputError, match=r"talk/beta\.jsonl is missing: beta has answers to other sets"):
        run(tmp_path / "board", answers=str(answers), judge="transformers")


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({}, UsageError, "Say what to evaluate with one or more of --answers, --battles, --triage, --scores"),
        ({"battles": "nowhere.csv"}, InputError, "nowhere.csv does not exist"),
        ({"battles": battle_file("WebMedQA"), "k": 0}, SettingsError, "must be positive"),
        ({"battles": str(GOLDEN.parent), "indices": "nowhere.json"}, InputError, "nowhere.json does not exist"),
        ({"answers": "nowhere"}, InputError, "nowhere is not a folder"),
        ({"answers": "ANSWERS"}, UsageError, "The judge is '', but must be recorded:FOLDER"),
        ({"answers": "ANSWERS", "judge": "recorded"}, UsageError, "the judge is recorded:FOLDER"),
        ({"answers": "ANSWERS", "judge": "recorded:nowhere"}, InputError, "nowhere does not exist"),
        ({"answers": "ANSWERS", "judge": "endpoint"}, UsageError, "Name the judge's model"),
        ({"answers": "ANSWERS", "judge": "endpoint", "judge_model": "m"}, UsageError, "must begin with http"),
        ({"answers": "ANSWERS", "judge": "x", "models": ["alpha", "delta"]}, InputError, "no answers of 'delta'"),
        ({"answers": "ANSWERS", "judge": "x", "forms": ["exam=best"]}, SettingsError, "no form 'best'"),
        ({"scores": battle_file("WebMedQA")}, InputError, "the first column must be 'model'"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, answers, settings, error, sentence):
    chosen = {name: str(answers) if value == "ANSWERS" else value for name, value in settings.items()}
    with pytest.raises(error, match=re.escape(sentence)):
        run(tmp_path / "board", **chosen)
    assert not list(tmp_path.glob("board*"))


@pytest.mark.parametrize(
    ("draws", "sentence"),
    [("{}", "is not a list"), ("[[0]]", "round 1 must have 660"), (json.dumps([[660] * 660]), "from 0 to 659")],
)
def test_wrong_draws_are_one_sentence(tmp_path, draws, sentence):
    (tmp_path / "draws.json").write_text(draws)
    with pytest.raises(omlab.OmlabError, match=sentence):
        run(tmp_path / "board", battles=battle_file("WebMedQA"), indices=str(tmp_path / "draws.json"))


def test_forms_of_the_prompt_come_from_a_file(tmp_path, judge, answers):
    (tmp_path / "forms.toml").write_text('[mine]\nsystem = "S"\nuser = "{question} // {first} // {second}"\n')
    run(
        tmp_path / "board", answers=str(answers), judge="endpoint", judge_url=judge.url, judge_model="m",
        per_pair=1, rounds=5, prompts=str(tmp_path / "forms.toml"), forms=["exam=mine"],
    )  # fmt: skip
    assert all(re.fullmatch(r"exam question \d+\? // .* // .*", prompt) for prompt in judge.prompts)
    (tmp_path / "forms.toml").write_text('[mine]\nsystem = "S"\nuser = "{question}"\n')
    with pytest.raises(InputError, match=r"has no place \{first\}"):
        run(tmp_path / "b", answers=str(answers), judge="x", prompts=str(tmp_path / "forms.toml"))


def test_a_local_judge_answers_through_transformers(tmp_path, answers, monkeypatch):
    from omlab_text.judging.judges import LocalJudge, Reply

    def prepare(self, model, *, device, max_tokens):
        self.name = f"transformers/{model}"

    monkeypatch.setattr(LocalJudge, "__init__", prepare)
    monkeypatch.setattr(LocalJudge, "ask", lambda self, messages, *, stop: Reply("3 4"))
    settings = {"answers": str(answers), "judge": "transformers", "judge_model": "tiny", "per_pair": 2, "rounds": 5}
    report = run(tmp_path / "board", **settings)
    assert report["sets"]["exam"]["outcomes"]["model_b"] == 6
    assert report["sets"]["exam"]["judging"]["judge"] == "transformers/tiny"


def test_without_the_extra_a_local_judge_says_what_to_install(tmp_path, answers, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"none")
    with pytest.raises(omlab.OmlabError, match=re.escape("install omlab-text[local]")):
        run(tmp_path / "board", answers=str(answers), judge="transformers", judge_model=str(folder))


def test_nothing_heavy_is_imported(tmp_path):
    code = (
        "import sys; import omlab_pulse_eval.evaluation; "
        "print([m for m in ('torch', 'transformers', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_installing_it_brings_no_torch():
    wanted, seen = ["omlab-pulse-eval"], set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        for row in requires(name) or []:
            requirement, _, marker = row.partition(";")
            if "extra ==" not in marker and "python_version" not in marker and "platform" not in marker:
                wanted.append(re.match(r"[A-Za-z0-9._-]+", requirement).group().lower())
    assert {"omlab-core", "omlab-report", "omlab-text", "numpy"} <= seen
    assert not {"torch", "transformers", "pandas"} & seen


def test_the_command_shows_the_board_and_says_where_it_is(tmp_path):
    def omlab(*words):
        return CliRunner().invoke(build(), ["pulse-eval", *words])

    battles = "--battles", battle_file("WebMedQA"), "--battles", battle_file("CheckupQA")
    done = omlab(*battles, "--rounds", "5", "-o", str(tmp_path / "board"))
    assert done.exit_code == 0, done.output
    assert "GPT-4" in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "board")
    assert list(json.loads((tmp_path / "board" / "report.json").read_text())["sets"]) == ["WebMedQA", "CheckupQA"]
    again = omlab(*battles, "--rounds", "5", "-o", str(tmp_path / "board"))
    assert "Nothing to do" in again.stderr
    assert "--battles" in omlab("--batles", "x").output
    assert "--judge-model" in omlab().output  # without a word, help


def test_every_setting_is_one_that_is_used():
    names = set(read_settings("omlab_pulse_eval")) - {field.name for field in fields(JudgeSettings)}
    source = "".join(path.read_text() for path in Path(omlab_pulse_eval.__file__).parent.glob("*.py"))
    assert not [name for name in names if f'"{name}"' not in source]


def test_no_reservation_without_a_reason(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", OmlabWarning)
        run(tmp_path / "board", battles=battle_file("CheckupQA"), rounds=5)


def test_names_like_formulas_are_text_to_a_spreadsheet(tmp_path):
    names = ['=HYPERLINK("http://x","y")', "@SUM(A1)", "-x"]
    log = tmp_path / "battles.csv"
    with log.open("w", encoding="utf-8", newline="") as stream:
        rows = [(a, b, "model_a") for a in names for b in names if a != b]
        csv.writer(stream).writerows([("model_a", "model_b", "winner"), *rows])
    report = run(tmp_path / "board", battles=[str(log)], rounds=10)
    assert set(report["models"]) == set(names)
    for table in ("leaderboard.csv", "win_shares.csv"):
        with (tmp_path / "board" / table).open(encoding="utf-8", newline="") as stream:
            cells = {cell for row in csv.reader(stream) for cell in row}
        assert {f"'{name}" for name in names} <= cells
        assert not cells & set(names)
