"""Rows are found again where the pass over the file said that they are, whatever the cells hold."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import InputError
from omlab_data.rows import Rows

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=8)
TABLES = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6)


@settings(max_examples=60)
@given(table=TABLES, end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
def test_a_row_of_a_csv_is_read_alone_as_among_all(tmp_path_factory, table, end, bom):
    path = tmp_path_factory.mktemp("rows") / "t.csv"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *table])
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode())
    rows = Rows(path)
    found = list(rows)
    assert [tuple(row.cells.values()) for row in found] == [cells for cells in table if any(c.strip() for c in cells)]
    assert [rows.at(row.start, row.stop, line=row.line).cells for row in found] == [row.cells for row in found]


@settings(max_examples=40)
@given(table=st.lists(st.dictionaries(CELLS, CELLS | st.integers() | st.lists(CELLS), max_size=3), max_size=6))
def test_an_object_of_json_lines_is_read_alone_as_among_all(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("rows") / "t.jsonl"
    path.write_text("\n\n".join(json.dumps(row) for row in table), encoding="utf-8")
    rows = Rows(path)
    found = list(rows)
    assert [row.cells for row in found] == table
    assert [row.line for row in found] == [1 + 2 * n for n in range(len(table))]
    assert [rows.at(row.start, row.stop, line=row.line).cells for row in found] == table


def test_a_line_number_is_that_of_an_editor(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n"1\n2\n3",x\n\ny,"z\n"\nbad\n')
    with pytest.raises(InputError, match=r"t\.csv, line 8 has 1 cells"):
        list(Rows(path))
    path.write_text('a,b\n"1\n2\n3",x\n\ny,"z\n"\n')
    assert [row.line for row in Rows(path)] == [2, 6]
