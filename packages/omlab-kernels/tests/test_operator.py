"""Operators run, forward and backward, without the compiler being imported: it costs 150 MB and seconds."""

import subprocess
import sys

CALLS = {
    "attention_relpos": "q = torch.ones(1, 1, 2, 4, requires_grad=True); attention_relpos(q, q, q).sum().backward()",
    "dice_cross_entropy": (
        "z = torch.zeros(1, 2, 3, 3, requires_grad=True);"
        "dice_cross_entropy(z, torch.zeros(1, 3, 3, dtype=torch.long)).backward()"
    ),
    "instance_norm_act": "x = torch.randn(1, 2, 5, requires_grad=True); instance_norm_act(x).sum().backward()",
    "linear_cross_entropy": (
        "h = torch.ones(2, 3, requires_grad=True);"
        "linear_cross_entropy(h, torch.ones(5, 3), torch.tensor([1, -100])).backward()"
    ),
    "masked_patch_error": (
        "p = torch.zeros(1, 4, 4, requires_grad=True);"
        "masked_patch_error(p, torch.randn(1, 1, 4, 4), patch=2).backward()"
    ),
    "volume_fusion": (
        "x = torch.ones(1, 2, 2, 2); c = torch.ones(1, 1, 1, dtype=torch.long);"
        "volume_fusion(x, x, c, block=(1, 1, 1), offset=(0, 0, 0), count=1)"
    ),
    "window_accumulate": "s = torch.ones(2, 1, 1, 1); window_accumulate(s.clone(), s, s[0])",
    "window_argmax": (
        "i = torch.zeros(1, dtype=torch.long);"
        "window_argmax(torch.ones(2, 1, 1, 1), [(i, i, torch.zeros(1))] * 3)"
    ),
}  # fmt: skip


def test_no_call_imports_the_compiler() -> None:
    """The calls one after the other in one process: one for each would take as long as all the rest."""
    steps = [f"{call}; assert 'torch._dynamo' not in sys.modules, '{name}'" for name, call in CALLS.items()]
    code = "\n".join([f"import sys, torch; from omlab_kernels import {', '.join(CALLS)}", *steps])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
