"""How this package answers golden cases of any size, by subject: `parity_tissue`, `parity_heat`, `parity_mil`.

Networks (`build`, `run`) are `parity_mil`'s. Of a file without a network each subject says which parts it answers:
`answers(case) -> {part: Answer}`, and which are only about it: `ABOUT`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from omlab_testkit.expected import Answer, answer_parts
from omlab_testkit.parity import load_file

if TYPE_CHECKING:
    from torch import Tensor, nn

SUBJECTS = ("tissue", "heat", "mil")


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode."""
    module: nn.Module = _subject("mil").build(case)
    return module


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> Mapping[str, Tensor]:
    """Every output that the case names."""
    found: Mapping[str, Tensor] = _subject("mil").run(module, case, inputs)
    return found


def check(case: dict[str, Any]) -> dict[str, float]:
    """By part of the file, the largest difference from what it expects."""
    answers: dict[str, Answer] = {}
    about = {"reference", "about", "notes", "image"}
    for name in SUBJECTS:
        subject = _subject(name)
        answers |= subject.answers(case)
        about |= set(subject.ABOUT)
    return answer_parts(case, answers, about=about - answers.keys())


def _subject(name: str) -> ModuleType:
    return load_file(Path(__file__).with_name(f"parity_{name}.py"))
