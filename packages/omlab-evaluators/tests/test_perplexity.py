"""The evaluator `perplexity` on documents worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.roles import Sample
from omlab_evaluators.perplexity.evaluator import PerplexityEvaluator
from omlab_evaluators.perplexity.figures import figures
from omlab_text.chat import ask
from omlab_text.options import Likelihoods


def rows_of(evaluator, folder, **documents):
    samples = {name: Sample(id=name, inputs={}, target=ask("x"), group=None) for name in documents}
    return {name: evaluator.measure(samples[name], found, folder) for name, found in documents.items()}


def document(*texts, each):
    """Texts of two tokens each with a log-probability of `each` bits."""
    return Likelihoods(
        texts=texts, logprobs=(-each * math.log(2),) * len(texts), tokens=(2,) * len(texts)
    )  # fmt: skip


def test_long_documents_count_as_much_as_they_are_long(tmp_path):
    evaluator = PerplexityEvaluator(rounds=100)
    rows = rows_of(evaluator, tmp_path, short=document("abcd", each=4), long=document("abcd", "发烧", "x" * 10, each=8))
    found = {metric.name: metric for metric in evaluator.report(rows, tmp_path).metrics}
    assert found["bits_per_byte"].value == pytest.approx((4 + 3 * 8) / (4 + 4 + 6 + 10))
    assert found["perplexity"].value == pytest.approx(2 ** ((4 + 3 * 8) / 8))
    assert found["perplexity"].low == pytest.approx(4)
    assert found["perplexity"].high == pytest.approx(16)
    assert "2 documents, 8 tokens" in (tmp_path / "report.html").read_text()


def test_figures_of_resampled_documents_are_those_of_the_documents_drawn(tmp_path):
    evaluator = PerplexityEvaluator()
    resampled = evaluator.resampled(rows_of(evaluator, tmp_path, a=document("ab", each=2), b=document("abcd", each=8)))
    found = resampled.figures(np.array([[1.0, 0.0], [1.0, 2.0]]))
    assert found == pytest.approx(np.array([[1, 2], [18 / 10, 2 ** (18 / 6)]]))


def test_a_perplexity_beyond_all_numbers_is_none(tmp_path):
    evaluator = PerplexityEvaluator(rounds=5)
    rows = rows_of(evaluator, tmp_path, a=document("ab", each=1e6))
    found = {metric.name: metric.value for metric in evaluator.report(rows, tmp_path).metrics}
    assert found["perplexity"] is None
    assert found["bits_per_byte"] == pytest.approx(5e5)


@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(2, 300), st.floats(1.5, 1000))
def test_a_model_that_guesses_evenly_has_the_perplexity_of_its_words(tokens, size, words):
    lost = tokens * math.log(words)
    bits, perplexity = figures(np.array([-lost, tokens, size]))
    assert perplexity == pytest.approx(words)
    assert 2 ** (bits * size / tokens) == pytest.approx(words)
