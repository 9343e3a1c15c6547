"""What `omlab new` can write: of each kind its words, hooks and requirements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CORE = "omlab-core>=0.1,<1"
VOLUME = "omlab-volume>=0.1,<1"
NUMPY = "numpy>=1.26"


@dataclass(frozen=True, kw_only=True)
class NewKind:
    """One kind of package.

    Attributes:
        words: As people say it.
        summary: Of the card as it is written.
        cards: Kinds of its cards, for each of which there is a hook.
        requires: What it needs to be installed.
        brings: What the table of packages says that it brings.
    """

    words: str
    summary: str
    cards: tuple[str, ...]
    requires: tuple[str, ...]
    brings: str


KINDS: Mapping[str, NewKind] = {
    "model": NewKind(
        words="model",
        summary="Segments bright structures in a volume.",
        cards=("model",),
        requires=(
            "omlab-core[torch]>=0.1,<1",
            "omlab-payloads>=0.1,<1",
            "omlab-train>=0.1,<1",
            VOLUME,
            NUMPY,
            "torch>=2.6",
        ),
        brings="model `{name}`",
    ),
    "recipe": NewKind(
        words="model",
        summary="Learns to segment by cross-entropy and Dice under a rate that is warmed up.",
        cards=("model",),
        requires=("omlab-core[torch]>=0.1,<1", "omlab-train>=0.1,<1", VOLUME, NUMPY, "torch>=2.6"),
        brings="model `{name}`",
    ),
    "dataset": NewKind(
        words="data set",
        summary="Volumes and label maps in a folder of NIfTI files.",
        cards=("dataset",),
        requires=(CORE, VOLUME, NUMPY),
        brings="data set `{name}`",
    ),
    "adapter": NewKind(
        words="adapter",
        summary="Renumbers predicted classes to those of the data.",
        cards=("adapter",),
        requires=("omlab-core[torch]>=0.1,<1", VOLUME, NUMPY, "torch>=2.6"),
        brings="adapter `{name}`",
    ),
    "evaluator": NewKind(
        words="evaluator",
        summary="Voxel accuracy of label maps.",
        cards=("evaluator",),
        requires=(CORE, "omlab-report>=0.1,<1", VOLUME, NUMPY),
        brings="evaluator `{name}`",
    ),
    "format": NewKind(
        words="format",
        summary="Volumes as NumPy archives: array, affine and the meaning of the intensities.",
        cards=("format",),
        requires=(CORE, VOLUME, NUMPY),
        brings="format `{name}`",
    ),
    "payload": NewKind(
        words="format",
        summary="Regularly sampled traces, such as an ECG, as JSON.",
        cards=("payload", "format"),
        requires=(CORE, NUMPY),
        brings="format `{name}`; kind `{name}`",
    ),
}
TAKEN = frozenset(
    [
        *("core", "payloads", "data", "prompts", "volume", "image", "slide", "video", "protein", "text", "kernels"),
        *("train", "adapters", "evaluators", "report", "benchmark", "retrieval", "measure", "sam", "testkit"),
        *("serve", "ray", "workspace"),
    ]
)
"""Names of packages of omlab, there or planned."""
