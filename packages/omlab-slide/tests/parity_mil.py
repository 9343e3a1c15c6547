"""How this package answers golden cases of slide networks and their losses; `parity.py` passes them on.

CLAM-SB and CLAM-MB, MIL-FC, attention pooling: of any widths, classes, heads, branches, gated or not, of any bags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from omlab_slide.mil.abmil import AttentionPooling, PoolingConfig
from omlab_slide.mil.attention import softmax_of
from omlab_slide.mil.clam import Clam, ClamConfig
from omlab_slide.mil.losses import ROW_LOSSES, instance_loss, smooth_top1_svm
from omlab_slide.mil.max_pool import MaxPool, MaxPoolConfig
from omlab_slide.mil.packed import Packed, spans
from omlab_testkit.expected import Answer, difference

Case = Mapping[str, Any]
BRANCHES = {"clam_sb": "single", "clam_mb": "multi"}
ABOUT = {"rtol", "about"}
"""Parts of files that are only about them."""


def build(case: dict[str, Any]) -> nn.Module:
    """The network with the case's hyper-parameters, untrained, in eval mode."""
    shape, model = case["build"], case["model"]
    network: nn.Module
    if model in BRANCHES:
        names = ("embed_dim", "n_classes", "size", "gate", "dropout", "k_sample")
        network = Clam(ClamConfig(branches=BRANCHES[model], **{name: shape[name] for name in names if name in shape}))
    elif model == "mil_fc":
        names = ("embed_dim", "n_classes", "hidden", "dropout")
        network = MaxPool(MaxPoolConfig(**{name: shape[name] for name in names if name in shape}))
    elif model == "abmil":
        names = ("feature_dim", "head_dim", "n_heads", "n_branches", "gated", "dropout")
        network = AttentionPooling(PoolingConfig(**{name: shape[name] for name in names if name in shape}))
    else:
        raise KeyError(model)
    return network.eval()


def run(module: nn.Module, case: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs that the case names."""
    if isinstance(module, Clam):
        return _clam(module, case, inputs["bag"])
    if isinstance(module, MaxPool):
        return _max_pool(module, inputs["bag"])
    assert isinstance(module, AttentionPooling)
    return _padded(module, case, inputs["bags"])


def answers(case: Case) -> dict[str, Answer]:
    """The parts of a file that are about losses."""
    rows = case.get("cases", [])
    is_loss = isinstance(rows, list) and all(isinstance(row, Mapping) and "logits" in row for row in rows)
    return {"cases": _svm} if rows and is_loss else {}


def _svm(rows: list[Case], case: Case) -> float:
    """The largest difference over the rows; each states some of what is computed."""
    far = []
    for row in rows:
        found = _svm_row(row)
        if stray := row.keys() - found.keys() - {"logits", "labels", "alpha", "tau", "note"}:
            raise KeyError(min(stray))
        wanted = {name: row[name] for name in found if name in row}
        far.append(difference({name: found[name] for name in wanted}, wanted))
    return max(far)


def _svm_row(row: Case) -> dict[str, Any]:
    logits = torch.tensor(row["logits"], dtype=torch.float64, requires_grad=True)
    loss = smooth_top1_svm(logits, torch.tensor(row["labels"]), alpha=row["alpha"], tau=row["tau"])
    loss.backward()
    assert logits.grad is not None
    return {"expected": loss.item(), "grad_row0": logits.grad[0].tolist()}


def _clam(module: Clam, case: Case, bag: Tensor) -> dict[str, Tensor]:
    packed = Packed.of([bag])
    hidden = module.hidden(packed.features)
    pooled, scores = module.pool(hidden, packed.offsets)
    logits = module(packed.features, packed.offsets).logits
    attention = softmax_of(scores, packed.offsets).mT
    found = {
        "hidden": hidden,
        "attention_raw": scores.mT,
        "attention": attention,
        "bag_feature": pooled[0],
        "logits": logits,
        "prob": logits.softmax(dim=1),
        "top_k_index": attention.topk(module.config.k_sample, dim=1).indices,
    }
    for name in case["outputs"]:
        if name.startswith("losses_"):
            _, loss, kind, label = name.split("_")
            found[name] = torch.stack(
                [*_losses(module, case, packed, loss, kind, int(label[1:]))[:3], logits.new_zeros(())]
            )
    return {name: value.detach() for name, value in (found | _last(module, case, packed)).items()}


def _losses(module: Clam, case: Case, packed: Packed, loss: str, kind: str, label: int) -> tuple[Tensor, ...]:
    """Bag, instance and total loss, and what the instance branch predicted and should have."""
    labels, others = torch.tensor([label]), kind == "subtyping"
    found = module(packed.features, packed.offsets, labels, others=others)
    assert found.instances is not None
    bag = ROW_LOSSES["ce"](found.logits, labels)
    classes, weight = module.config.n_classes, case["build"]["bag_weight"]
    instance = instance_loss(found.instances, loss=ROW_LOSSES[loss], bags=1, classes=classes, others=others)
    total = weight * bag + (1 - weight) * instance
    return bag, instance, total, found.instances.logits.argmax(dim=1), found.instances.targets


def _last(module: Clam, case: Case, packed: Packed) -> dict[str, Tensor]:
    """Gradients and the instance branch of the last label, with cross-entropy and subtyping."""
    module.zero_grad()
    *_, total, predicted, targets = _losses(module, case, packed, "ce", "subtyping", module.config.n_classes - 1)
    total.backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    first = "attention_net.3.attention_a.0.weight" if module.config.gate else "attention_net.3.module.0.weight"
    last = f"instance_classifiers.{module.config.n_classes - 1}.weight"
    found = {"grad_attention_a": first, "grad_fc": "attention_net.0.weight", "grad_instance_last": last}
    kept = {name: gradient for name, key in found.items() if (gradient := gradients[key]) is not None}
    return {"instance_preds": predicted, "instance_labels": targets, **kept}


def _max_pool(module: MaxPool, bag: Tensor) -> dict[str, Tensor]:
    packed = Packed.of([bag])
    hidden = module.hidden(packed.features)
    logits = module.classify(hidden)
    best = module.best(logits, packed.offsets)
    top = module(packed.features, packed.offsets).logits
    predicted = int(top.argmax(dim=1))
    return {
        "top_logits": top.detach(),
        "prob": top.softmax(dim=1).detach(),
        "instance_prob": logits.softmax(dim=1).detach(),
        "top_feature": hidden[best].detach(),
        "prediction": torch.tensor([predicted, -1]),
    }


def _padded(module: AttentionPooling, case: Case, bags: Tensor) -> dict[str, Tensor]:
    lengths, most = case["build"]["lengths"], bags.shape[1]
    packed = Packed.of([bag[:length] for bag, length in zip(bags, lengths, strict=True)])
    pooled, scores = module(packed.features, packed.offsets)
    whole = Packed.of(list(bags))
    unmasked, raw = module(whole.features, whole.offsets)
    weights = softmax_of(scores.flatten(1), packed.offsets).unflatten(1, scores.shape[1:])
    padded = weights.new_zeros(len(bags), most, *scores.shape[1:])
    for bag, span in enumerate(spans(packed.offsets)):
        padded[bag, : span.stop - span.start] = weights[span]
    found = {
        "feature": pooled,
        "weights": padded.permute(0, 2, 3, 1),  # (B, branch, head, N)
        "feature_unmasked": unmasked,
        "scores_unmasked": raw.unflatten(0, (len(bags), most)).permute(0, 2, 3, 1),
    }
    return {name: value.detach() for name, value in found.items()}
