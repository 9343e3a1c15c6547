"""Residues a second of ESM-2 against the EsmForMaskedLM of transformers, with the same drawn weights on the same cores.

    python benchmarks/speed.py [--task masked] [--model esm2-t12] [--rounds 2] [--threads 1]

`library`: 16 sequences of 50 to 500 residues, logits of every residue; transformers gets them padded, 8 at a time as
they come, ours one after the other. `masked`: 20 residues of a protein of 200 behind a mask token in turn, log p there;
transformers tells every row, ours the masked one. Each way runs in processes of its own, the two alternating, after a
smaller run. Rows go to results.csv; ratios are transformers over ours, of the wall clock and of processor time: above 1
ours is faster.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omlab_testkit.rows import append_rows

RESULTS = Path(__file__).with_name("results.csv")
WAYS = ("transformers", "omlab")
TASKS = ("library", "masked")
PADDED, TOKENS = 8, 4096
COUNT = {"library": 16, "masked": 20}
"""Sequences, and masked copies of one."""
LENGTH = 200


def theirs(model: str, state: Any) -> Any:
    """EsmForMaskedLM with these weights."""
    import transformers

    from omlab_esm.model import SIZES
    from omlab_protein.alphabet import MASK, PAD

    config = SIZES[model]
    form = transformers.EsmConfig(
        vocab_size=33, hidden_size=config.width, num_hidden_layers=config.layers, num_attention_heads=config.heads,
        intermediate_size=config.feed_forward, layer_norm_eps=config.eps, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, position_embedding_type="rotary", max_position_embeddings=1026,
        token_dropout=True, emb_layer_norm_before=False, pad_token_id=PAD, mask_token_id=MASK,
    )  # fmt: skip
    network = transformers.EsmForMaskedLM(form).eval()
    network.load_state_dict(state, strict=False)
    return network


def work(model: str, way: str, task: str, *, count: int) -> tuple[Callable[[], Any], int]:
    """What is timed, and the residues that go through the network in it."""
    import torch
    from torch.nn.functional import pad

    from omlab_esm.model import SIZES
    from omlab_protein.alphabet import MASK, PAD, encode
    from omlab_protein.alphabet import TOKENS as LETTERS
    from omlab_protein.network import filled, packed, untrained
    from omlab_protein.scoring import masked_log_probabilities

    generator = torch.Generator().manual_seed(0)
    lengths = [int(50 * 10 ** float(torch.rand((), generator=generator))) for _ in range(count)]
    drawn = ["".join(LETTERS[n] for n in torch.randint(4, 24, (length,), generator=generator)) for length in lengths]
    network = untrained(SIZES[model])
    if task == "masked":
        wild = drawn[0].ljust(LENGTH, "A")[:LENGTH]
        sites = range(1, count + 1)
        if way == "omlab":
            return lambda: torch.cat([*masked_log_probabilities(network, wild, [(n,) for n in sites])]), LENGTH * count
        reference, plain = theirs(model, network.state_dict()), torch.tensor(encode(wild))

        def masked() -> Any:
            copies = plain.repeat(count, 1)
            copies[range(count), sites] = MASK
            batches = zip(
                copies.split(TOKENS // len(plain)), torch.tensor(sites).split(TOKENS // len(plain)), strict=True
            )
            with torch.inference_mode():
                found = [reference(input_ids=one).logits[range(len(one)), at] for one, at in batches]
            return torch.cat(found).log_softmax(-1)

        return masked, LENGTH * count
    rows = [encode(letters) for letters in drawn]
    if way == "omlab":

        def library() -> Any:
            with torch.inference_mode():
                return torch.cat([network(*packed(part)) for part in filled(rows, most=TOKENS)])

        return library, sum(lengths)
    reference = theirs(model, network.state_dict())

    def padded() -> Any:
        found = []
        for begin in range(0, len(rows), PADDED):
            part = [torch.tensor(row) for row in rows[begin : begin + PADDED]]
            longest = max(map(len, part))
            tokens = torch.stack([pad(one, (0, longest - len(one)), value=PAD) for one in part])
            with torch.inference_mode():
                logits = reference(input_ids=tokens, attention_mask=(tokens != PAD).long()).logits
            found += [one[: len(row)] for one, row in zip(logits, part, strict=True)]
        return torch.cat(found)

    return padded, sum(lengths)


def measure(model: str, way: str, task: str) -> dict[str, Any]:
    """One run in this process, after a short one; samples tell that both compute the same."""
    import torch

    work(model, way, task, count=1)[0]()
    run, residues = work(model, way, task, count=COUNT[task])
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    wall, cpu = time.perf_counter(), time.process_time()
    output = run()
    seconds, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": seconds, "cpu": cpu, "peak": peak, "residues": residues,
        "samples": output.flatten()[::997].tolist(),
    }  # fmt: skip


def child(model: str, way: str, task: str, *, threads: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, __file__, "--child", way, "--task", task, "--model", model],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def rows_of(task: str, runs: dict[str, list[dict[str, Any]]], *, model: str) -> list[dict[str, Any]]:
    """A row a way, with its ratios to transformers."""
    wall = {way: statistics.median(run["seconds"] for run in runs[way]) for way in WAYS}
    cpu = {way: min(run["cpu"] for run in runs[way]) for way in WAYS}
    gaps = zip(runs["omlab"][0]["samples"], runs["transformers"][0]["samples"], strict=True)
    off = max(abs(one - other) for one, other in gaps)
    residues = runs["omlab"][0]["residues"]
    return [
        {
            "benchmark": task, "way": way, "model": model, "rounds": len(runs[way]), "residues": residues,
            "p50_s": round(wall[way], 3), "cpu_s": round(cpu[way], 3),
            "residues_per_s": round(residues / wall[way]), "residues_per_cpu_s": round(residues / cpu[way]),
            "peak_mib": round(max(run["peak"] for run in runs[way])),
            "times_faster": round(wall["transformers"] / wall[way], 2),
            "times_faster_cpu": round(cpu["transformers"] / cpu[way], 2),
            "difference": f"{off:.1e}", "transformers": importlib.metadata.version("transformers"),
        }
        for way in WAYS
    ]  # fmt: skip


def main() -> None:
    """Measure both tasks and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--task", choices=TASKS, help="this one alone")
    parser.add_argument("--model", default="esm2-t12")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.model, given.child, given.task)))
        return
    for task in [given.task] if given.task else TASKS:
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(given.rounds):
            for way in WAYS:
                runs[way].append(child(given.model, way, task, threads=given.threads))
        append_rows(RESULTS, rows_of(task, runs, model=given.model), threads=given.threads)


if __name__ == "__main__":
    main()
