import csv
import json
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omlab.errors import InputError, MissingDependencyError, OutputError, UsageError
from omlab_payloads import testing
from omlab_payloads.boxes import Boxes
from omlab_payloads.classes import Classes
from omlab_payloads.csv_table import CsvTable
from omlab_payloads.embedding import Embedding
from omlab_payloads.embeddings import Embeddings, open_embeddings
from omlab_payloads.json_files import JsonFile, JsonLines
from omlab_payloads.parquet_table import GROUP, ParquetTable
from omlab_payloads.scores import Scores

TABLES = {"csv": CsvTable, "parquet": ParquetTable, "jsonl": JsonLines}
PAYLOADS = {
    "embedding": testing.example_embeddings() + list(testing.odd_embeddings().values()),
    "classes": testing.example_classes() + list(testing.odd_classes().values()),
    "scores": testing.example_scores() + list(testing.odd_scores().values()),
    "boxes": testing.example_boxes() + list(testing.odd_boxes().values()),
    "points": testing.example_points() + list(testing.odd_points().values()),
}
EACH = [
    (format, suffix, kind)
    for format, suffix, kinds in [
        (JsonFile, ".json", list(PAYLOADS)),
        (JsonLines, ".jsonl", list(PAYLOADS)),
        (CsvTable, ".csv", ["classes", "scores"]),
        (ParquetTable, ".parquet", ["classes", "scores"]),
        (Embeddings, ".safetensors", ["embedding"]),
    ]
    for kind in kinds
]
COLLECTING = [row for row in EACH if row[0] is not JsonFile]


def said(payload):
    return json.dumps(payload.to_value())


def collected(format, path, payloads):
    """A file of payloads by id."""
    format.collect([(id, format.pack(payload)) for id, payload in payloads.items()], path)
    return path


@pytest.mark.parametrize(("format", "suffix", "kind"), EACH)
def test_one_payload_is_written_and_read(tmp_path, format, suffix, kind):
    for number, payload in enumerate(PAYLOADS[kind]):
        path = tmp_path / f"case {number}{suffix}"
        format().write(payload, path, inputs={})
        assert said(format().read(path, kind=kind)) == said(payload)
        if format is not JsonFile:
            assert list(format().index(path)) == [f"case {number}"]


@pytest.mark.parametrize(("format", "suffix", "kind"), COLLECTING)
def test_all_cases_are_collected_in_their_order_and_read_by_key(tmp_path, format, suffix, kind):
    given_payloads = {f"id-{n}": payload for n, payload in enumerate(PAYLOADS[kind])}
    if kind == "embedding" and format is Embeddings:
        given_payloads = {id: payload for id, payload in given_payloads.items() if payload.vector.size == 16}
    path = collected(format(), tmp_path / f"all{suffix}", given_payloads)
    assert list(format().index(path)) == list(given_payloads)
    for id in reversed(given_payloads):
        assert said(format().read(path, kind=kind, key=id)) == said(given_payloads[id])
    with pytest.raises(InputError, match=r"has \d+ entries \(id-0, id-1, id-2, ...\): name one"):
        format().read(path, kind=kind)
    with pytest.raises(InputError, match="has no entry 'nobody'; there are id-0"):
        format().read(path, kind=kind, key="nobody")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("format", "suffix", "kind"), COLLECTING)
def test_nothing_is_a_file_too(tmp_path, format, suffix, kind):
    path = collected(format(), tmp_path / f"none{suffix}", {})
    assert list(format().index(path)) == []
    with pytest.raises(InputError, match="has no entry"):
        format().read(path, kind=kind)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6) | st.sampled_from(
    [
        "=1+1",
        "'=x",
        "''-",
        "+",
        "-3",
        "@a",
        "\t",
        "\r",
        "a\nb",
        'a"b',
        "a;b",
        "a,b",
        "id",
        "predicted",
        "threshold",
        "p(a)",
        "x [mL]",
        " ",
    ]
)
numbers = st.floats(allow_nan=True)
scores = st.builds(
    lambda values, unit: Scores(values=values, units=dict.fromkeys(list(values)[:1], unit)),
    st.dictionaries(texts, numbers, min_size=1, max_size=3),
    st.sampled_from(["", "mL", "%", "=mm"]),
)
classes = st.builds(
    lambda parts, threshold: Classes(names=tuple(parts), probabilities=tuple(parts.values()), threshold=threshold),
    st.dictionaries(texts, st.floats(0, 1), min_size=1, max_size=3),
    st.none() | st.floats(0, 1),
)


@pytest.mark.parametrize("name", TABLES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases=st.dictionaries(texts, scores, max_size=4) | st.dictionaries(texts, classes, max_size=4))
def test_whatever_the_names_a_table_gives_them_back(tmp_path, name, cases):
    path = tmp_path / f"t.{name}"
    path.unlink(missing_ok=True)
    format = TABLES[name]()
    collected(format, path, cases)
    assert list(format.index(path)) == list(cases)
    for id, payload in cases.items():
        found = format.read(path, kind=payload.kind, key=id).to_value()
        wanted = payload.to_value()
        found.pop("predicted", None), wanted.pop("predicted", None)  # the order of names is that of the columns
        assert json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)


def test_no_text_of_a_csv_is_a_formula(tmp_path):
    names = ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "plain")
    payload = Classes(names=names, probabilities=[0.9] * 6, threshold=0.5)
    path = collected(CsvTable(), tmp_path / "t.csv", {f"{sign}id": payload for sign in "=+-@"})
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    for cell in [cell for row in rows for cell in row]:
        assert not cell.startswith(("=", "+", "@", "\t", "\r"))
        assert not cell.startswith("-") or float(cell)
    assert rows[0][:3] == ["id", "predicted", "threshold"]


def test_a_table_is_what_its_reader_expects(tmp_path):
    payloads = {"a": Scores(values={"EF": 55.5}, units={"EF": "%"}), "b": Scores(values={"age": -3})}
    path = collected(CsvTable(), tmp_path / "t.csv", payloads)
    assert path.read_text() == "id,EF [%],age\na,55.5,\nb,,-3.0\n"
    path = collected(CsvTable(), tmp_path / "c.csv", {"a": Classes(names=("x", "y"), probabilities=(0.25, 0.75))})
    assert path.read_text() == "id,predicted,threshold,p(x),p(y)\na,y,,0.25,0.75\n"
    path = collected(JsonLines(), tmp_path / "b.jsonl", {"a": Boxes(space="voxel")})
    assert json.loads(path.read_text()) == {"id": "a", "kind": "boxes", "space": "voxel", "boxes": []}


def test_a_table_made_elsewhere_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfvolume,id,"p(a)"\r\n\r\n1.5,one,0.5\r\n , two,\r\n"3","li\nnes",1')
    assert list(CsvTable().index(path)) == ["one", " two", "li\nnes"]
    assert CsvTable().read(path, kind="classes", key="one").probabilities == (0.5,)
    assert CsvTable().read(path, kind="classes", key="li\nnes").probabilities == (1.0,)
    with pytest.raises(InputError, match="entry ' two' cannot be used: It has no probability"):
        CsvTable().read(path, kind="classes", key=" two")
    with pytest.raises(InputError, match="It holds classes, but scores is needed"):
        CsvTable().read(path, kind="scores", key="one")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no column 'id'; its first line has nothing"),
        (b"name,x\na,1\n", "no column 'id'; its first line has name, x"),
        (b"id,x\na,1\na,2\n", "two entries with the id 'a'"),
        (b"id,x,x\na,1,2\n", "two columns 'x'"),
        (b"id,x\na\n", "entry 'a' has 1 cells, but there are 2 columns"),
        (b"id,x\na,many\n", "has 'many' in the column 'x'"),
        (b"id,x\n\xff,1\n", r"not UTF-8 text \(near byte 5\)"),
        (b'id,x\n"a,1\n', "near byte 5 a row is broken"),
        (b"id,x\ra,1\r", "a row is broken|no column"),
        (b"id,x\na,\n", "cannot be used: Scores need at least one number"),
    ],
)
def test_a_table_that_is_wrong_is_named(tmp_path, content, words):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        CsvTable().read(path, kind="scores")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "line 1 is not JSON: it ends or goes wrong at line 1, column 2"),
        ('{"id": 5}', "line 1 has no 'id' that is a text"),
        ('{"id": "a"}\n\n{"id": "a"}', "two entries with the id 'a'"),
        ('{"id": "a", "kind": "boxes"}', "holds boxes, but scores is needed"),
        ('{"id": "a", "values": {"x": "many"}}', "cannot be used: 'x' must be a number"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_json_lines_that_are_wrong_are_named(tmp_path, content, words):
    path = tmp_path / "t.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=words) as error:
        JsonLines().read(path, kind="scores")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("format", [JsonFile, JsonLines, CsvTable, ParquetTable, Embeddings])
def test_a_file_that_is_absent_or_something_else_is_named(tmp_path, format):
    for name, content in {"absent": None, "empty": b"", "text": b"patient: unknown\n" * 50}.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=name):
            format().read(path, kind="embedding" if format is Embeddings else "scores")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder"):
        format().read(tmp_path / "folder", kind="embedding" if format is Embeddings else "scores")


def test_a_changed_file_is_read_again(tmp_path):
    path = collected(CsvTable(), tmp_path / "t.csv", {"a": Scores(values={"x": 1})})
    assert list(CsvTable().index(path)) == ["a"]
    path.unlink()
    collected(CsvTable(), path, {"long name": Scores(values={"x": 1})})
    assert list(CsvTable().index(path)) == ["long name"]


def test_cases_that_have_nothing_in_common_make_no_table(tmp_path):
    records = (
        (f"{n}", CsvTable().pack(Scores(values={f"candidate {n}-{m}": 1.0 for m in range(100)}))) for n in range(200)
    )
    with pytest.raises(OutputError, match=r"t\.csv would have more than 10,000 columns.*--as jsonl"):
        CsvTable().collect(records, tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []


def test_what_makes_no_row_is_refused():
    with pytest.raises(UsageError, match="not for a boxes"):
        CsvTable().pack(Boxes(space="voxel"))
    with pytest.raises(UsageError, match="not a scores"):
        Embeddings().pack(Scores(values={"x": 1}))


def test_safetensors_reads_what_is_written_and_the_matrix_is_mapped(tmp_path):
    from safetensors.numpy import load_file

    vectors = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    payloads = {f"id-{n}": Embedding(vector=vector, model="m") for n, vector in enumerate(vectors)}
    path = collected(Embeddings(), tmp_path / "e.safetensors", payloads)
    np.testing.assert_array_equal(load_file(path)["embeddings"], vectors)
    ids, matrix = open_embeddings(path)
    assert ids == tuple(payloads)
    assert isinstance(matrix, np.memmap)
    np.testing.assert_array_equal(matrix, vectors)
    with pytest.raises(ValueError, match="read-only"):
        matrix[0, 0] = 1
    assert Embeddings().read(path, kind="embedding", key="id-3").model == "m"


def test_embeddings_of_two_models_are_kept_apart(tmp_path):
    for other, words in (
        (Embedding(vector=[1, 2], model="b"), "of 'y' .2 numbers of b. does not fit that of 'x' .2 numbers of a."),
        (Embedding(vector=[1], model="a"), "1 numbers of a"),
    ):
        with pytest.raises(OutputError, match=words):
            collected(Embeddings(), tmp_path / "e.safetensors", {"x": Embedding(vector=[1, 2], model="a"), "y": other})


@pytest.mark.parametrize(
    ("tensor", "metadata", "words"),
    [
        ({"weight": np.zeros((2, 2), np.float32)}, None, "no tensor 'embeddings'; it has weight"),
        ({"embeddings": np.zeros((2, 2))}, None, "of F64, not"),
        ({"embeddings": np.zeros((2, 2), np.float32)}, None, "does not say in its metadata"),
        ({"embeddings": np.zeros((2, 2), np.float32)}, {"ids": '["a"]'}, "has 1 different ids, but 2 embeddings"),
        ({"embeddings": np.zeros((2, 2), np.float32)}, {"ids": "[1, 2]"}, "as a JSON list 'ids'"),
    ],
)
def test_a_file_of_other_tensors_is_refused(tmp_path, tensor, metadata, words):
    from safetensors.numpy import save_file

    save_file(tensor, tmp_path / "e.safetensors", metadata)
    with pytest.raises(InputError, match=words):
        Embeddings().read(tmp_path / "e.safetensors", kind="embedding")


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = collected(Embeddings(), tmp_path / "e.safetensors", {"a": Embedding(vector=np.ones(999))})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"e\.safetensors is no safetensors file, or is damaged"):
        open_embeddings(path)


def test_other_tensors_may_lie_before_the_embeddings(tmp_path):
    from safetensors.numpy import save_file

    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensors = {"a": np.zeros(5), "embeddings": matrix, "z": np.zeros(3, np.int8)}
    save_file(tensors, tmp_path / "e.safetensors", {"ids": '["x", "y"]'})
    np.testing.assert_array_equal(open_embeddings(tmp_path / "e.safetensors")[1], matrix)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'omlab-payloads\[parquet\]'"):
        ParquetTable().write(Scores(values={"x": 1}), tmp_path / "t.parquet", inputs={})
    assert list(tmp_path.iterdir()) == []


def test_parquet_has_numbers_where_there_are_numbers(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    payloads = {f"{n:05}": Scores(values={"x": float(n)}) for n in range(GROUP + 2)}
    path = collected(ParquetTable(), tmp_path / "t.parquet", payloads)
    table = pq.read_table(path)
    assert [str(field.type) for field in table.schema] == ["string", "double"]
    assert pq.ParquetFile(path).num_row_groups == 2
    for id in ("00000", f"{GROUP - 1:05}", f"{GROUP:05}", f"{GROUP + 1:05}"):
        assert ParquetTable().read(path, kind="scores", key=id).values == {"x": float(id)}


@pytest.mark.parametrize(("format", "suffix"), [(CsvTable, "csv"), (JsonLines, "jsonl"), (ParquetTable, "parquet")])
def test_many_cases_are_collected_in_little_memory_and_read_by_key_in_short_time(tmp_path, format, suffix):
    """The file is gone through once: a hundred times the reads of one pass would take minutes."""
    count = 20_000
    path = tmp_path / f"many.{suffix}"
    record = format().pack(Classes(names=("a", "b"), probabilities=(0.25, 0.75)))
    tracemalloc.start()
    format().collect(((f"case-{n:06}", record) for n in range(count)), path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    began = time.process_time()
    ids = format().index(path)
    for id in ids[::10]:
        format().read(path, kind="classes", key=id)
    assert time.process_time() - began < 5
