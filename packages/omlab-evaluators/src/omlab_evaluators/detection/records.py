"""What is kept of a case: a row of JSON, in which the matches of a class are one short text.

A box takes 32 characters, so that a million frames of five boxes take some 160 MB when all are put together.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np

from omlab_evaluators.bootstrap import CaseRows
from omlab_evaluators.detection.matching import SIZES, Matches
from omlab_evaluators.detection.precision import Ranked
from omlab_evaluators.names import key_of

_BOX = np.dtype([("score", "<f8"), ("hits", "<u2", (len(SIZES),)), ("false", "<u2", (len(SIZES),))])


def packed(matches: Matches) -> dict[str, Any]:
    """As JSON: the numbers of references by size, and the found boxes in base64."""
    boxes = np.empty(len(matches.scores), _BOX)
    boxes["score"], boxes["hits"], boxes["false"] = matches.scores, matches.hits, matches.false
    return {"references": matches.positives.tolist(), "found": b64encode(boxes.tobytes()).decode("ascii")}


def unpacked(value: Mapping[str, Any]) -> Matches:
    """The matches that `packed` made JSON of."""
    boxes = np.frombuffer(b64decode(value["found"]), _BOX)
    positives = np.array(value["references"], np.int64)
    return Matches(scores=boxes["score"], hits=boxes["hits"], false=boxes["false"], positives=positives)


def ranked(rows: CaseRows) -> list[Ranked]:
    """The boxes of each class, the cases in the order of their ids (which decides between equal scores).

    Classes are those that some reference or result has; two spellings of one name are one, as references spell it.
    """
    names: dict[str, str] = {}
    for is_reference in (True, False):
        for (row,) in rows.values():
            for name, value in row["classes"].items():
                if bool(value["references"][0]) == is_reference:
                    names.setdefault(key_of(name), name)
    return [_of_class(rows, key=key, name=names[key]) for key in sorted(names)]


def _of_class(rows: CaseRows, *, key: str, name: str) -> Ranked:
    order = sorted(rows)
    place = {case: n for n, case in enumerate(rows)}
    parts, cases, positives = [], [np.zeros(0, np.int64)], np.zeros((len(rows), len(SIZES)))
    for case in order:
        (row,) = rows[case]
        for spelt, value in row["classes"].items():
            if key_of(spelt) == key:
                matches = unpacked(value)
                parts.append(matches)
                cases.append(np.full(len(matches.scores), place[case]))
                positives[place[case]] += matches.positives
    whole = Matches.joined(parts)
    falling = np.argsort(-whole.scores, kind="stable")
    return Ranked(
        name=name,
        scores=whole.scores[falling],
        hits=whole.hits[falling],
        false=whole.false[falling],
        cases=np.concatenate(cases)[falling],
        positives=positives,
    )
