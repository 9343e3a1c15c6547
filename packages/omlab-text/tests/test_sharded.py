"""`-s sharding=full`: each of several processes holds a part of the network, and what comes of it is the same."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

import omlab
from omlab.errors import OmlabError, OmlabWarning
from omlab_text.tiny import save_tiny

CHATS = [
    {"messages": [{"role": "user", "content": f"{n} {q}?"}, {"role": "assistant", "content": a}]}
    for n in range(4)
    for q, a in {"fever": "rest", "cough": "honey"}.items()
]
TEMPLATE = "{% for m in messages %}{{m['role']}}: {{m['content']}}</s>{% endfor %}"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMLAB_CACHE", str(tmp_path / "cache"))
    rows = [{**chat, "split": split} for split in ("train", "val") for chat in CHATS]
    (tmp_path / "sft.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_one_process_alone_has_nothing_to_part(place):
    save_tiny(place / "base", "llama", template=TEMPLATE)
    settings = {"longest": 32, "workers": 0, "sharding": "full"}
    with pytest.raises(OmlabError, match="there is one alone"), pytest.warns(OmlabWarning, match="is learnt"):
        omlab.adapt("causal-lm", "chats:sft.jsonl", recipe="sft", weights="base", device="cpu", settings=settings)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "recipe", "adapter"), [("llama", "sft", "lora"), ("bloom", "corpus", "finetune")])
def test_two_processes_adapt_in_parts_as_they_do_with_all_of_it(place, family, recipe, adapter):
    save_tiny(place / "base", family, template=TEMPLATE)
    for sharding in ("none", "full"):
        two_adapt(place, "--recipe", recipe, "--adapter", adapter, "-s", f"sharding={sharding}", "-o", sharding)
    whole, parted = (learnt(load_file(place / name / "weights.safetensors")) for name in ("none", "full"))
    assert whole.keys() == parted.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parted[name], value, rtol=1e-3, atol=1e-4, msg=name)
    losses = [
        [row["val_loss"] for row in json.loads((place / name / "history.json").read_text())]
        for name in ("none", "full")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def learnt(state):
    """Without the biases of BLOOM's keys: their gradient is rounding alone, which Adam makes whole steps of."""
    heads = {name: value.view(4, 3, 8) for name, value in state.items() if name.endswith("query_key_value.bias")}
    return state | {name: value[:, [0, 2]] for name, value in heads.items()}


def two_adapt(place, *words):
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "omlab", "adapt", "causal-lm"]
    given = ["--weights", "base", "--data", "chats:sft.jsonl"]
    quick = ["-s", "learning_rate=0.01", "-s", "batch_size=4", "-s", "longest=32", "-s", "workers=0"]
    done = subprocess.run(
        [sys.executable, "-m", *launch, *given, *quick, *words],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
