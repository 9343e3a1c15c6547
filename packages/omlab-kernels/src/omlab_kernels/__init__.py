"""Hot paths of medical imaging networks, as operators that autograd and `torch.compile` know.

Importing this package imports nothing else: each operator is loaded when its name is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omlab_kernels.alibi.op import alibi_bias, alibi_slopes, attention_alibi
    from omlab_kernels.dice_ce.op import deep_supervision_dice_cross_entropy, dice_cross_entropy
    from omlab_kernels.dispatch import KernelWarning
    from omlab_kernels.distillation.op import self_distillation
    from omlab_kernels.fusion.older import volume_fusion_boxes, volume_fusion_shuffled
    from omlab_kernels.fusion.op import volume_fusion
    from omlab_kernels.gated_pooling.op import gated_pooling
    from omlab_kernels.norm_act.op import instance_norm_act
    from omlab_kernels.patch_error.op import masked_patch_error
    from omlab_kernels.relpos.factors import relpos_factors, resize_relpos_table
    from omlab_kernels.relpos.op import attention_relpos
    from omlab_kernels.table_bias.op import LaidOutTable, attention_table_bias, lay_out, table_index, table_rows
    from omlab_kernels.vocabulary.op import linear_cross_entropy, linear_log_probs, linear_log_probs_and_entropy
    from omlab_kernels.window.op import window_accumulate, window_argmax

__version__ = "0.1.0"
__all__ = [
    "KernelWarning",
    "LaidOutTable",
    "alibi_bias",
    "alibi_slopes",
    "attention_alibi",
    "attention_relpos",
    "attention_table_bias",
    "deep_supervision_dice_cross_entropy",
    "dice_cross_entropy",
    "gated_pooling",
    "instance_norm_act",
    "lay_out",
    "linear_cross_entropy",
    "linear_log_probs",
    "linear_log_probs_and_entropy",
    "masked_patch_error",
    "relpos_factors",
    "resize_relpos_table",
    "self_distillation",
    "table_index",
    "table_rows",
    "volume_fusion",
    "volume_fusion_boxes",
    "volume_fusion_shuffled",
    "window_accumulate",
    "window_argmax",
]

_HOMES = {
    "KernelWarning": "omlab_kernels.dispatch",
    "LaidOutTable": "omlab_kernels.table_bias.op",
    "alibi_bias": "omlab_kernels.alibi.op",
    "alibi_slopes": "omlab_kernels.alibi.op",
    "attention_alibi": "omlab_kernels.alibi.op",
    "attention_relpos": "omlab_kernels.relpos.op",
    "attention_table_bias": "omlab_kernels.table_bias.op",
    "deep_supervision_dice_cross_entropy": "omlab_kernels.dice_ce.op",
    "dice_cross_entropy": "omlab_kernels.dice_ce.op",
    "gated_pooling": "omlab_kernels.gated_pooling.op",
    "instance_norm_act": "omlab_kernels.norm_act.op",
    "lay_out": "omlab_kernels.table_bias.op",
    "linear_cross_entropy": "omlab_kernels.vocabulary.op",
    "linear_log_probs": "omlab_kernels.vocabulary.op",
    "linear_log_probs_and_entropy": "omlab_kernels.vocabulary.op",
    "masked_patch_error": "omlab_kernels.patch_error.op",
    "relpos_factors": "omlab_kernels.relpos.factors",
    "resize_relpos_table": "omlab_kernels.relpos.factors",
    "self_distillation": "omlab_kernels.distillation.op",
    "table_index": "omlab_kernels.table_bias.op",
    "table_rows": "omlab_kernels.table_bias.op",
    "volume_fusion": "omlab_kernels.fusion.op",
    "volume_fusion_boxes": "omlab_kernels.fusion.older",
    "volume_fusion_shuffled": "omlab_kernels.fusion.older",
    "window_accumulate": "omlab_kernels.window.op",
    "window_argmax": "omlab_kernels.window.op",
}


def __getattr__(name: str) -> Any:
    """The public function `name`, from the module that it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
