"""The specification of the loss of self-distillation.

With views of B samples, s_v (B, K) of the student and t_i (B, K) of the teacher, a centre c (K,), temperatures a of the
student and b of the teacher, and a weight w_iv for each pair of views:

    p_i = softmax((t_i - c) / b),   q_v = log softmax(s_v / a)
    loss = sum over i, v of w_iv mean over the batch of (- sum over k of p_i q_v), divided by sum over i, v of w_iv

Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers (DINO), ICCV 2021, where w_iv is 0 for
the same view (i = v) and 1 for all others.
"""

from __future__ import annotations

from torch import Tensor


def self_distillation(
    student: Tensor,
    teacher: Tensor,
    center: Tensor,
    pairs: Tensor,
    *,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """The loss, a scalar.

    Args:
        student: (V, B, K).
        teacher: (T, B, K).
        center: (K,).
        pairs: (T, V), the weights.
        student_temperature: The a above.
        teacher_temperature: The b above.
    """
    p = ((teacher - center) / teacher_temperature).softmax(dim=2)
    q = (student / student_temperature).log_softmax(dim=2)
    loss = student.new_zeros(())
    for i, view in enumerate(p):
        for v, seen in enumerate(q):
            loss = loss + pairs[i, v] * -(view * seen).sum(dim=1).mean()
    return loss / pairs.sum()
