"""A local judge with a tiny, randomly initialised model; where the extra is installed."""

import threading

import pytest

from omlab_pulse_eval.judges import JudgeRefusesError, LocalJudge

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

QUESTION = [{"role": "user", "content": "which is better?"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers

    place = tmp_path_factory.mktemp("judge")
    words = {word: n for n, word in enumerate(["<unk>", "<eos>", *map(chr, range(32, 127))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>")
    fast.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    fast.save_pretrained(place)
    torch.manual_seed(0)
    shape = {"vocab_size": len(words), "n_positions": 128, "n_embd": 16, "n_layer": 1, "n_head": 2}
    config = transformers.GPT2Config(**shape, eos_token_id=1, bos_token_id=1)
    transformers.GPT2LMHeadModel(config).save_pretrained(place)
    return place


def test_a_local_model_answers_the_same_each_time(folder):
    judge = LocalJudge(str(folder), device="cpu", max_tokens=8)
    reply = judge.ask(QUESTION, stop=threading.Event())
    assert reply == judge.ask(QUESTION, stop=threading.Event())
    assert reply.more == {"tokens_in": 16, "tokens_out": 8}


def test_a_model_that_cannot_be_a_judge_says_why(folder, tmp_path):
    with pytest.raises(JudgeRefusesError, match="cannot be loaded as a judge"):
        LocalJudge(str(tmp_path / "nowhere"), device="cpu")
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(JudgeRefusesError, match="brings no chat template"):
        LocalJudge(str(tmp_path), device="cpu")
