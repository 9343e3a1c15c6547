"""The classes of the phantom, named as in TotalSegmentator, with SNOMED CT codes."""

from __future__ import annotations

from omlab_volume.volume import Code, Label


def _label(value: int, name: str, colour: tuple[int, int, int], code: str, meaning: str) -> Label:
    return Label(value=value, name=name, colour=colour, code=Code(value=code, scheme="SCT", meaning=meaning))


LABELS = (
    _label(1, "liver", (221, 130, 101), "10200004", "Liver"),
    _label(2, "spleen", (157, 108, 162), "78961009", "Spleen"),
    _label(3, "kidney_left", (212, 126, 151), "18639004", "Left kidney"),
    _label(4, "kidney_right", (185, 102, 83), "9846003", "Right kidney"),
    _label(5, "aorta", (224, 97, 76), "15825003", "Aorta"),
    _label(6, "spine", (226, 202, 134), "421060004", "Vertebral column"),
)
LIVER, SPLEEN, KIDNEY_LEFT, KIDNEY_RIGHT, AORTA, SPINE = (label.value for label in LABELS)
