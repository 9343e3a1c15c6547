"""How this package answers golden cases of any widths, depths and sizes: encoders, and a student with its teacher.

`check` answers the files without a network: losses, temperatures, schedules, preprocessing, and tables of labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omlab_brow.distillation import both, pairs_of
from omlab_brow.images import Seen
from omlab_brow.slide_tasks import SLIDE_TASKS
from omlab_brow.vit import EPS, Brow, VitConfig, resized_positions, untrained
from omlab_image import Image
from omlab_kernels import self_distillation
from omlab_testkit.expected import Answer, answer_parts, difference
from omlab_testkit.golden import recorded
from omlab_train.distillation import HeadConfig, cosine_schedule, teacher_temperature, updated_center
from omlab_train.teacher import StudentTeacher

Case = Mapping[str, Any]


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode."""
    facts = case["build"]
    if facts.get("norm_eps", EPS) != EPS or not facts.get("qkv_bias", True):
        raise ValueError(f"{case['model']}: BROW has norms of eps {EPS} and a bias in qkv")
    config = VitConfig(
        size=facts["img_size"],
        patch=facts["patch_size"],
        width=facts["embed_dim"],
        depth=facts["depth"],
        heads=facts["num_heads"],
        mlp_ratio=facts.get("mlp_ratio", 4),
        classes=facts.get("num_classes", 0),
    )
    if "out_dim" not in facts:
        return untrained(config)
    head = HeadConfig(outputs=facts["out_dim"], hidden=facts["hidden_dim"], bottleneck=facts["bottleneck_dim"])
    return StudentTeacher(*both(config), width=config.width, head=head).eval()


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every output that a case of these networks may name."""
    if isinstance(module, StudentTeacher):
        return _distilled(module, case["build"], inputs)
    assert isinstance(module, Brow)
    outputs: dict[str, Tensor] = {}
    with torch.inference_mode():
        for name, image in inputs.items():
            ending = name.removeprefix("image")
            found = _encoded(module, image)
            outputs |= {f"{output}{ending}": value for output, value in found.items()}
    return outputs


def _encoded(module: Brow, image: Tensor) -> dict[str, Tensor]:
    with recorded({f"block{n}": block for n, block in enumerate(module.blocks)}) as outputs:
        outputs["feature"] = module.features(image)
    patches = module.patch_embed(image)
    outputs |= {
        "patch_embed": patches.flatten(1, 2),
        "pos_embed": resized_positions(module.pos_embed, grid=(patches.shape[1], patches.shape[2])),
        "embedded": module.embedded(image),
        "last_attention": module.last_attention(image),
    }
    for count in range(1, len(module.blocks) + 1):
        outputs[f"normed_last{count}_first"] = module.last_tokens(image, blocks=count)[0]
    return outputs


def _distilled(module: StudentTeacher, facts: Case, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses at the case's epochs, and what one step does to centre, gradients and teacher."""
    views = {kind: [inputs[name] for name in sorted(inputs) if name.startswith(kind)] for kind in ("global", "local")}
    center = 0.1 * inputs["center"][0]
    with torch.enable_grad():
        student = module.student([*views["global"], *views["local"]])
        with torch.no_grad():
            teacher = module.teacher(views["global"])
        losses = [_loss(student, teacher, center, facts, epoch=epoch) for epoch in facts["at_epochs"]]
        wanted = ["backbone.blocks.0.attn.qkv.weight", "head.last_layer.weight_v"]
        qkv, directions = torch.autograd.grad(losses[0], [module.student.get_parameter(name) for name in wanted])
    before = {name: tensor.clone() for name, tensor in module.teacher.named_buffers()}
    module.follow(facts["momentum"])
    outputs = {
        "student_out": student.flatten(0, 1),
        "teacher_out": teacher.flatten(0, 1),
        "losses": torch.stack([*losses, torch.zeros(())]),
        "center_after": updated_center(center, teacher, momentum=facts["center_momentum"])[None],
        "grad_qkv0": qkv,
        "grad_last_v": directions,
        "teacher_qkv0_after": module.teacher.get_buffer(wanted[0]).clone(),
    }
    module.teacher.load_state_dict(before)
    return {name: value.detach() for name, value in outputs.items()}


def _loss(student: Tensor, teacher: Tensor, center: Tensor, facts: Case, *, epoch: int) -> Tensor:
    first, last = facts["teacher_temp"]
    temperature = teacher_temperature(epoch, first=first, last=last, warmup=facts["warmup_teacher_temp_epochs"])
    return self_distillation(
        student,
        teacher,
        center,
        student_temperature=facts["student_temp"],
        teacher_temperature=temperature,
        pairs=pairs_of(len(teacher), len(student), shared=len(teacher)),
    )


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file without a network, by its parts."""
    answers: dict[str, Answer] = {
        "self_distillation": _plain_loss,
        "teacher_temps": _temperatures,
        "cosine_schedule": _schedules,
        "preprocess": _seen,
    }
    answers |= {name: _named_task(name) for name in SLIDE_TASKS}
    return answer_parts(case, answers, about={"about", "reference", "rtol", "note", "notes"})


def _plain_loss(part: Case, case: Case) -> float:
    student, teacher = (torch.tensor(part[name], dtype=torch.float64) for name in ("student", "teacher"))
    center = torch.tensor(part["center"], dtype=torch.float64)[0]
    student = student.view(part["crops"], -1, student.shape[1])
    teacher = teacher.view(-1, *student.shape[1:])
    facts = {
        "teacher_temp": (part["warmup_teacher_temp"], part["teacher_temp"]),
        "warmup_teacher_temp_epochs": part["warmup_epochs"],
        "student_temp": part["student_temp"],
    }
    loss = _loss(student, teacher, center, facts, epoch=part["epoch"])
    after = updated_center(center, teacher, momentum=part["center_momentum"])
    return max(
        difference(loss.item(), part["expected_loss"]),
        difference(after[None].tolist(), part["expected_center"]),
    )


def _temperatures(part: list[float], case: Case) -> float:
    facts = case["self_distillation"]
    found = [
        teacher_temperature(
            epoch, first=facts["warmup_teacher_temp"], last=facts["teacher_temp"], warmup=facts["warmup_epochs"]
        )
        for epoch in range(facts["epochs"])
    ]
    return difference(found, part)


def _schedules(part: Case, case: Case) -> float:
    far = []
    for row in part.values():
        first, last, epochs, steps, warmup, start = row["args"]
        length = {"steps": epochs * steps, "warmup": warmup * steps, "start": start}
        found = [cosine_schedule(step, first=first, last=last, **length) for step in range(epochs * steps)]
        far.append(difference(found, row["values"]))
    return max(far)


def _seen(part: Case, case: Case) -> float:
    """The image of the formula value[y, x, c] = (7x + 13y + 29c) mod 256."""
    y, x, c = np.ogrid[:256, :256, :3]
    pixels = ((7 * x + 13 * y + 29 * c) % 256).astype(np.uint8)
    seen = Seen(size=part["shape"][1])(Image(array=pixels))
    found: dict[str, Any] = {"shape": list(seen.shape), "mean": seen.double().mean().item()}
    for name in part:
        if name.startswith("at_"):
            row, column = (int(number) for number in name.split("_")[1:])
            found[name] = seen[:, row, column].tolist()
    expected = {name: value for name, value in part.items() if name not in ("image", "steps", "reference")}
    return difference({name: found[name] for name in expected}, expected)


def _named_task(name: str) -> Answer:
    return lambda part, case: _of_task(name, part)


def _of_task(name: str, part: Case) -> float:
    task = SLIDE_TASKS[name]
    found = {
        "classes": list(task.classes),
        "slides": dict(task.slides),
        "folds": task.folds,
        "fold0": dict(task.first_fold),
    }
    return difference({name: found[name] for name in part}, dict(part))
