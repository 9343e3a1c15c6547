"""Replies read as scores; triage F1 as published and mended."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import InputError
from omlab_pulse_eval.parse import MODES, outcome_of, scores_of
from omlab_pulse_eval.triage import item_of, read_departments, read_triage, triage_figures

GOLDEN = Path(__file__).parent / "golden"
SCORES = json.loads((GOLDEN / "judge-scores.json").read_text())["cases"]
TRIAGE = json.loads((GOLDEN / "triage-expected.json").read_text())["models"]


@pytest.mark.parametrize("case", SCORES, ids=lambda case: repr(case["review"]))
def test_strict_parsing(case):
    scores = scores_of(case["review"])
    assert (list(scores) if scores else None) == case["scores"]
    assert outcome_of(case["review"]) == case["winner"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reply", ["nan 3", "3 inf", "-inf nan", "NaN NaN\n9 1"])
def test_what_is_not_finite_is_unparsed(reply, mode):
    assert outcome_of(reply, mode=mode) == "unparsed"


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ("8, 9", (8, 9)), ("\n\n 8\t9 \nx", (8, 9)), ("Assistant 1: 9 Assistant 2: 1.5", (9, 1.5)),
        ("[7/10, 8/10]", (7, 8)),
        ("助手1\uff1a8 助手2\uff1a9", (8, 9)), ("10 0", (10, 0)), ("1000000 0", None), ("11 3", None), ("-1 3", None),
        ("9 nine", None), ("8 9 7", None), ("I rate answer 2 best", None), ("", None), ("GPT4 is 8 and 9", (8, 9)),
    ],
)  # fmt: skip
def test_lenient_parsing(reply, scores):
    assert scores_of(reply, mode="lenient") == scores


@settings(deadline=None)
@given(reply=st.text(max_size=80), mode=st.sampled_from(MODES))
def test_any_text_has_an_outcome(reply, mode):
    assert (outcome_of(reply, mode=mode) == "unparsed") == (scores_of(reply, mode=mode) is None)


@pytest.mark.parametrize("model", TRIAGE)
def test_triage_figures(model):
    departments = read_departments(GOLDEN / "departments.json")
    found = triage_figures(read_triage(GOLDEN / "triage-predictions.csv", departments=departments)[model])
    for name in ("hits", "predicted", "labelled", "exact"):
        assert found[name] == TRIAGE[model][name]
    for name in ("precision", "recall", "f1", "accuracy"):
        assert found[name] == pytest.approx(TRIAGE[model][name], abs=1e-9)


def test_texts_are_read_as_published_and_mended():
    item = item_of("骨科 | 眼科|骨科", "骨科|眼科")
    assert item.predicted == ["骨科", "眼科", "骨科"]
    assert item.distinct == ["骨科", "眼科"]
    assert item_of("", "骨科").predicted == [""]  # an empty answer is one piece
    commas = item_of("骨科\uff0c眼科\n皮肤科", "骨科")
    assert triage_figures([commas])["hits"] == 0
    assert triage_figures([commas])["mended_recall"] == pytest.approx(1)


def test_naming_every_department_earns_nothing_in_the_mended_figure():
    everything = item_of("|".join(f"d{n}" for n in range(50)), "d49")
    found = triage_figures([everything], guesses=5)
    assert found["recall"] == pytest.approx(1)
    assert found["mended_f1"] == 0
    assert found["coverage"] == 1
    assert found["pieces_per_answer"] == 50


HEADER = "model,item,predicted,other,labels\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: the column 'model' is missing"),
        (HEADER, "holds no predictions"),
        (HEADER + "x,0,d00,0\n", "line 2: the row does not have one field"),
        (HEADER + "x,0,d00,0,d01\nx,0,d00,0,d01\n", "line 3: x has item 0 a second time"),
        (HEADER + "x,0,d00,0,d01\ny,0,d00,0,d02\n", "line 3: the labels of item 0 differ from those in line 2"),
        (HEADER + "x,0,d00,0,d01\nx,1,d00,0,d01\ny,0,d00,0,d01\n", "no row of y for item 1"),
        (HEADER + "x,0,d99,0,d01\n", "line 2: 'd99' is the code of no department"),
        (HEADER + "x,0,d00,-1,d01\n", "line 2: 'other' is '-1'"),
        (HEADER + "x,0,d00,0,\n", "line 2: the reference names no department"),
    ],
)
def test_wrong_triage_predictions_are_one_sentence_with_their_line(tmp_path, text, sentence):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_triage(path, departments=read_departments(GOLDEN / "departments.json"))
