"""The evaluator `multiple-choice` on cases worked by hand."""

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import InputError
from omlab.roles import Sample
from omlab_evaluators.multiple_choice.chosen import BYS, likeliest, named, probabilities, scores
from omlab_evaluators.multiple_choice.evaluator import MultipleChoiceEvaluator
from omlab_text.chat import Turn, ask
from omlab_text.options import Likelihoods, Options

LETTERS = ("A", "B", "C", "D")
logprobs = st.lists(st.floats(-1e3, 0), min_size=2, max_size=8)


def question(id, answer, *, group=None, texts=LETTERS[:2], **meta):
    return Sample(id=id, inputs={}, target=Options(texts=texts, answer=answer), group=group, meta=meta)


def likelihoods(*values, texts=None, tokens=None):
    texts = texts or LETTERS[: len(values)]
    return Likelihoods(texts=texts, logprobs=values, tokens=tokens or (1,) * len(values))


def answer(text):
    return ask("?").then(Turn(role="assistant", text=text))


def values_of(evaluator, pairs, folder):
    rows = {sample.id: evaluator.measure(sample, result, folder) for sample, result in pairs}
    report = evaluator.report(rows, folder)
    return {(metric.name, metric.label): metric for metric in report.metrics}, rows


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("B", "B"),
        ("(C)", "C"),
        ("D. Pneumonia", "D"),
        ("**B**", "B"),
        ("The answer is C.", "C"),
        ("First I thought the answer is A. No: the answer is D", "D"),
        ("答案：B", "B"),  # noqa: RUF001
        ("答案是D。", "D"),
        ("I would choose C here", "C"),
        ("It must be (B), I think", "B"),
        ("A fever is likely, so B", "B"),
        ("A fever is likely", None),
        ("C because of the fever", "C"),
        ("B or C", None),
        ("either B or C", None),
        ("E", None),
        ("Because", None),
        ("", None),
    ],
)
def test_the_letter_of_an_answer_is_read_by_the_rule(text, found):
    assert named(text, LETTERS) == (None if found is None else LETTERS.index(found))


def test_options_without_letters_are_read_by_their_texts():
    options = ("viral pneumonia", "pneumonia", "asthma")
    assert named("It is  Viral Pneumonia.", options) == 0
    assert named("Pneumonia", options) == 1
    assert named("asthma or pneumonia", options) is None


def test_each_normalisation_by_hand():
    values, tokens, sizes = (-6.0, -4.0, -5.0), (4, 1, 2), (6, 2, 10)
    assert scores(values, tokens, sizes, by="sum") == [-6.0, -4.0, -5.0]
    assert scores(values, tokens, sizes, by="token") == [-1.5, -4.0, -2.5]
    assert scores(values, tokens, sizes, by="byte") == [-1.0, -2.0, -0.5]
    assert [likeliest(scores(values, tokens, sizes, by=by)) for by in BYS] == [1, 0, 2]


@settings(max_examples=50)
@given(logprobs)
def test_probabilities_sum_to_one_in_the_order_of_the_scores(values):
    found = probabilities(values)
    assert sum(found) == pytest.approx(1)
    assert found[likeliest(values)] == max(found)
    assert probabilities([value - 7 for value in values]) == pytest.approx(found)


@settings(max_examples=50)
@given(logprobs, st.integers(1, 9))
def test_options_of_one_length_are_chosen_alike_however_normalised(values, length):
    lengths = [length] * len(values)
    chosen = [values[likeliest(scores(values, lengths, lengths, by=by))] / length for by in BYS]
    assert chosen == pytest.approx([max(values) / length] * 3)


def test_accuracy_by_subject_and_calibration(tmp_path):
    pairs = [
        (question("q1", 0, subject="heart"), likelihoods(math.log(0.8), math.log(0.2))),
        (question("q2", 1, subject="heart"), likelihoods(math.log(0.8), math.log(0.2))),
        (question("q3", 1, subject="lung"), likelihoods(math.log(0.1), math.log(0.3))),
    ]
    found, rows = values_of(MultipleChoiceEvaluator(rounds=50), pairs, tmp_path)
    assert found["accuracy", None].value == pytest.approx(2 / 3)
    assert (found["accuracy", "heart"].value, found["accuracy", "lung"].value) == (0.5, 1)
    assert rows["q3"][0]["probability"] == pytest.approx(0.75)
    # two of 0.8 that are right once; one of 0.75 that is right, in a bin of its own
    assert found["ece", None].value == pytest.approx((abs(1.6 - 1) + abs(0.75 - 1)) / 3)
    assert ("changed", None) not in found
    page = (tmp_path / "report.html").read_text()
    assert "Calibration" in page
    assert "When options are rotated" not in page


def test_the_choice_by_byte_counts_where_it_is_asked_for(tmp_path):
    texts = ("no", "no, never")
    sample, result = question("q", 1, texts=texts), likelihoods(-2.0, -4.0, texts=texts, tokens=(1, 3))
    for by, value in (("sum", 0), ("byte", 1)):
        found, _ = values_of(MultipleChoiceEvaluator(by=by, rounds=5), [(sample, result)], tmp_path)
        assert found["accuracy", None].value == value
        assert (found["accuracy_sum", None].value, found["accuracy_byte", None].value) == (0, 1)


def test_rotations_tell_who_knows_from_who_likes_a_place(tmp_path):
    def turned(id, rotation, answer):
        return question(f"{id}+{rotation}", answer, group=id, question=id, rotation=rotation)

    pairs = [
        (turned("knows", 0, 0), answer("A")),
        (turned("knows", 1, 1), answer("B")),
        (turned("first", 0, 0), answer("A")),
        (turned("first", 1, 1), answer("A")),
    ]
    found, _ = values_of(MultipleChoiceEvaluator(rounds=50), pairs, tmp_path)
    assert found["accuracy", None].value == 0.75
    assert (found["changed", None].value, found["always_right", None].value) == (0.5, 0.5)
    assert (found["changed", None].low, found["changed", None].high) == (0, 1)
    assert "When options are rotated" in (tmp_path / "report.html").read_text()


def test_an_answer_that_names_no_option_is_wrong_and_counted(tmp_path):
    pairs = [(question("q1", 0), answer("Perhaps.")), (question("q2", 1), answer("B"))]
    found, _ = values_of(MultipleChoiceEvaluator(rounds=5), pairs, tmp_path)
    assert (found["accuracy", None].value, found["unread", None].value) == (0.5, 0.5)
    rows = list(csv.DictReader((tmp_path / "cases.csv").read_text().splitlines()))
    assert [(row["answer"], row["chosen"], row["right"]) for row in rows] == [("1", "", "0"), ("2", "2", "1")]


def test_figures_of_resampled_cases_are_those_of_the_cases_drawn(tmp_path):
    evaluator = MultipleChoiceEvaluator()
    pairs = [(question("q1", 0), answer("A")), (question("q2", 1), answer("A"))]
    rows = {sample.id: evaluator.measure(sample, result, tmp_path) for sample, result in pairs}
    resampled = evaluator.resampled(rows)
    names = [measure.name for measure in resampled.measures]
    figures = resampled.figures(np.array([[1.0, 1.0], [3.0, 1.0]]))
    assert figures[:, names.index("accuracy")].tolist() == [0.5, 0.75]
    assert np.isnan(figures[:, names.index("changed")]).all()


def test_what_cannot_be_compared_is_told(tmp_path):
    evaluator = MultipleChoiceEvaluator()
    with pytest.raises(InputError, match="Case q has no right option"):
        evaluator.measure(question("q", None), answer("A"), tmp_path)
    with pytest.raises(InputError, match="Case q: the likelihoods are of other options"):
        evaluator.measure(question("q", 0), likelihoods(-1, -2, -3), tmp_path)
    mixed = {
        "a": evaluator.measure(question("a", 0), answer("A"), tmp_path),
        "b": evaluator.measure(question("b", 0), likelihoods(-1, -2), tmp_path),
    }
    with pytest.raises(InputError, match="evaluate them apart"):
        evaluator.report(mixed, tmp_path)
