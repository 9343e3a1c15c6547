"""What an error says becomes a part of a sentence of ours."""

import pytest

from omlab.errors import first_line, one_line


@pytest.mark.parametrize(
    ("said", "whole", "first"),
    [
        ("no such codec.", "no such codec", "no such codec"),
        ("  no such codec.\n\n  try\tanother ", "no such codec. try another", "no such codec"),
        ("", "ValueError", "ValueError"),
        (" \n ", "ValueError", "ValueError"),
    ],
)
def test_an_error_is_a_part_of_a_sentence(said, whole, first):
    assert (one_line(ValueError(said)), first_line(ValueError(said))) == (whole, first)
