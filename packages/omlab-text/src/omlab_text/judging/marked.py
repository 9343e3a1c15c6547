"""What a judge is told: texts between markers that none of them can close."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

Messages = list[dict[str, str]]

CODE = "code"
"""The name of the place for the code that is in the markers."""


def filled(form: str, texts: Mapping[str, str]) -> str:
    """The form with the texts in their places `{name}`, and in `{code}` a code that depends on all of them.

    Where each text stands between markers with the code, none can close its own place and go on as the judge's
    instructions: nobody knows the code of his own text beforehand.
    """
    code = hashlib.sha256(json.dumps(dict(texts), sort_keys=True).encode()).hexdigest()[:12]
    places = {**texts, CODE: code}
    # One pass over the form: a text that holds '{name}' stays as it is.
    return re.sub(r"\{(" + "|".join(map(re.escape, places)) + r")\}", lambda place: places[place.group(1)], form)


def prompt_digest(messages: Messages) -> str:
    """sha256 of what the judge is told: part of the key under which its reply is stored."""
    return hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()
