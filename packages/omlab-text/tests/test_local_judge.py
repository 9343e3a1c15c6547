"""A judge on this machine: a tiny language model with random weights."""

import threading

import pytest

from omlab_text.judging.judges import JudgeRefusesError, LocalJudge
from omlab_text.tiny import save_tiny

QUESTION = [{"role": "user", "content": "which is better?"}]
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def test_a_local_model_answers_the_same_each_time(tmp_path):
    judge = LocalJudge(str(save_tiny(tmp_path, "bloom", template=TEMPLATE)), device="cpu", max_tokens=8)
    reply = judge.ask(QUESTION, stop=threading.Event())
    assert reply == judge.ask(QUESTION, stop=threading.Event())
    assert reply.more["tokens_out"] <= 8


def test_a_model_that_cannot_be_a_judge_says_why(tmp_path):
    with pytest.raises(JudgeRefusesError, match="cannot be loaded as a judge"):
        LocalJudge(str(tmp_path / "nowhere"), device="cpu")
    with pytest.raises(JudgeRefusesError, match="brings no chat template"):
        LocalJudge(str(save_tiny(tmp_path / "plain", "bloom")), device="cpu")
