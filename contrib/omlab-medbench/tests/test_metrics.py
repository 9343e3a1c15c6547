"""Readers and metrics against the golden numbers, and what must hold for any texts."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_medbench import compat, strict
from omlab_medbench.metrics import (
    macro_of,
    macro_tally,
    mean_tally,
    precision_recall_f1,
    rouge_l,
    set_f1_tally,
)
from omlab_medbench.tokens import common_length, tokens

GOLDEN = json.loads((Path(__file__).parent / "golden" / "metrics.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["choice"], ids=lambda case: case["text"])
def test_choice_letters(case):
    assert compat.letters(case["text"]) == case["letters"]
    assert compat.first_letter(case["text"]) == case["first"]


@pytest.mark.parametrize("kind", ["entities", "relations", "events", "record"])
def test_parsers(kind):
    for case in GOLDEN[kind]:
        assert getattr(compat, kind)(case["text"]) == case["items"]


def test_set_f1():
    for case in GOLDEN["set_f1"]:
        tally = set_f1_tally(case["gold"], case["pred"])
        precision, recall, f1 = precision_recall_f1(tally.parts.sum(axis=0))
        assert (precision, recall, f1) == (case["precision"], case["recall"], case["f1"])
        assert tally.score == f1


def test_macro_f1():
    for case in GOLDEN["macro_f1"]:
        tally = macro_tally(case["gold"], case["pred"], first_label=case["labels"][0])
        precision, recall, f1 = macro_of(tally.parts.sum(axis=0).reshape(-1, 3))
        assert precision == pytest.approx(case["precision"], abs=1e-12)
        assert recall == pytest.approx(case["recall"], abs=1e-12)
        assert f1 == tally.score == pytest.approx(case["f1"], abs=1e-12)


def test_rouge_l():
    for case in GOLDEN["rouge_l"]:
        pairs = list(zip(case["gold"], case["pred"], strict=True))
        for (gold, predicted), wanted in zip(pairs, case["tokens"], strict=True):
            assert [" ".join(tokens(gold)), " ".join(tokens(predicted))] == wanted
        assert mean_tally([rouge_l(*pair) for pair in pairs]).score == pytest.approx(case["rouge_l"], abs=1e-12)


def test_cloze_and_yes_no():
    for case in GOLDEN["cloze"]:
        assert compat.cloze(case["pred"], case["gold"]) is case["correct"]
    for case in GOLDEN["yes_no"]:
        assert compat.yes_no(case["pred"]) == case["label"]


def naive_length(one, two):
    table = np.zeros((len(one) + 1, len(two) + 1), dtype=int)
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    return table[-1, -1]


@settings(max_examples=80, deadline=None)
@given(one=st.lists(st.sampled_from("abcd"), max_size=80), two=st.lists(st.sampled_from("abcde"), max_size=80))
def test_the_common_length_is_that_of_the_table(one, two):
    assert common_length(one, two) == naive_length(one, two)


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_can_be_read(text):
    assert rouge_l(text, text) == pytest.approx(1, abs=1e-6)
    for reader in (
        compat.letters, compat.entities, compat.relations, compat.events, compat.terms, compat.record, compat.yes_no,
        strict.letters, strict.events, strict.yes_no,
    ):  # fmt: skip
        reader(text)


def test_tokens_of_mixed_text():
    assert tokens("Résumé\tof 阿司匹林100mg, 36.5\u00b0C\0") == [
        "resume", "of", "阿", "司", "匹", "林", "100mg", ",", "36", ".", "5\u00b0c",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("ACD", "ACD"), ("AB", "AB"), ("The answer is D", "D"), ("A、C", "AC"), ("(B)", "B"), ("答案是B。", "B"),
        ("CT检查后选B", "B"), ("选项A和C", "AC"), ("无", ""), ("A级", "A"), ("NYHA", ""),
    ],
)  # fmt: skip
def test_strict_letters(text, letters):
    assert strict.letters(text) == frozenset(letters)


def test_strict_mends_what_compat_credits_or_loses():
    longer = "小儿消化内科"
    assert compat.cloze(longer, ["消化内科"])
    assert not strict.cloze(longer, ["消化内科"], known=[longer, "消化内科"])
    assert strict.cloze("建议消化内科就诊", ["消化内科"], known=[longer, "消化内科"])
    assert strict.yes_no("不建议") == "不可以"
    assert strict.yes_no("可以, 但不要空腹") == "可以"
    assert strict.yes_no("") == ""
    assert strict.without_blanks([{"type": "疾病", "entity": " "}, {"type": "疾病", "entity": " a "}]) == [
        {"type": "疾病", "entity": "a"}
    ]


def test_terms_of_the_last_line():
    text = "thinking\n甲\uff0c乙\uff0c甲"
    assert [row["entity"] for row in compat.terms(text, known={"甲"})] == ["甲"]
    assert [row["entity"] for row in compat.terms(text)] == ["甲", "乙"]


def test_a_resampled_score_is_that_of_the_items_drawn():
    gold, predicted = ["a", "b", "b", "c"], ["a", "b", "c", "c"]
    tally = macro_tally(gold, predicted)
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 2, 0]])
    drawn = macro_tally([gold[n] for n in (0, 0, 2, 2)], [predicted[n] for n in (0, 0, 2, 2)])
    assert tally.rounds(weights).tolist() == pytest.approx([tally.score, drawn.score])
