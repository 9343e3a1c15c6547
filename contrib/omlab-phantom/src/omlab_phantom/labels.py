"""The classes of the phantom, named as in TotalSegmentator, with SNOMED CT codes."""

from __future__ import annotations

from omlab_volume.labels import Code, Label, default_colour


def _label(value: int, name: str, code: str, meaning: str) -> Label:
    coded = Code(value=code, scheme="SCT", meaning=meaning)
    return Label(value=value, name=name, colour=default_colour(value), code=coded)


LABELS = (
    _label(1, "liver", "10200004", "Liver"),
    _label(2, "spleen", "78961009", "Spleen"),
    _label(3, "kidney_left", "18639004", "Left kidney"),
    _label(4, "kidney_right", "9846003", "Right kidney"),
    _label(5, "aorta", "15825003", "Aorta"),
    _label(6, "spine", "421060004", "Vertebral column"),
)
LIVER, SPLEEN, KIDNEY_LEFT, KIDNEY_RIGHT, AORTA, SPINE = (label.value for label in LABELS)
