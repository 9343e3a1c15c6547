"""What core asks of payloads, and how messages call them."""

import pytest

from omlab import take
from omlab.errors import UsageError
from omlab.payloads import Payload, an, describe, nbytes


class Line:
    kind = "line"
    nbytes = 24


class Embedding:
    kind = "embedding"


def test_an_input_is_taken_by_name_and_class():
    line = Line()
    assert take({"ct": line}, "ct", Line) is line
    with pytest.raises(UsageError, match="There is no input 'mr'; given were ct"):
        take({"ct": line}, "mr", Line)
    with pytest.raises(UsageError, match="given were none"):
        take({}, "mr", Line)
    with pytest.raises(UsageError, match="The input 'ct' is a line, but an embedding is needed"):
        take({"ct": line}, "ct", Embedding)
    with pytest.raises(UsageError, match="The input 'ct' is a line, but an int is needed"):
        take({"ct": line}, "ct", int)


def test_a_payload_is_what_has_a_kind():
    assert isinstance(Line(), Payload)
    assert not isinstance("text", Payload)
    assert [describe(value) for value in (Line(), "text", None)] == ["line", "str", "NoneType"]
    assert [an(kind) for kind in ("line", "embedding", "image")] == ["a line", "an embedding", "an image"]


def test_bytes_are_counted_as_far_as_payloads_say_them():
    assert nbytes(Line()) == 24
    assert nbytes({"one": Line(), "two": Line(), "three": Embedding()}) == 48
    assert nbytes(None) == 0
