"""JSON lines: objects with the numbers of their lines, and what is wrong by file and line."""

import pytest

from omlab.errors import InputError
from omlab.json_lines import read_json_lines


def test_objects_come_with_their_lines_past_blank_ones_and_byte_order_marks(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n  \r\n\xef\xbb\xbf{"b": "\xc3\xa9"}')
    assert list(read_json_lines(path)) == [(1, {"a": 1}), (4, {"b": "é"})]


@pytest.mark.parametrize(
    ("line", "said"),
    [(b"\xff", "not UTF-8"), (b"{", "not JSON"), (b"[1]", "not a JSON object"), (b"[" * 100_000, "not JSON")],
)
def test_a_wrong_line_is_named(tmp_path, line, said):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n" + line)
    with pytest.raises(InputError, match=rf"a\.jsonl, line 2 is {said}"):
        list(read_json_lines(path))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.jsonl cannot be read"):
        list(read_json_lines(tmp_path / "a.jsonl"))
