import json
import subprocess
import sys

from omlab.records import Record
from omlab_report import ReportedRun, model_words, read_run, run_notices, run_of_case, run_sections
from omlab_report.judged import FROM_UNTRAINED, UNKNOWN_ORIGIN, UNTRAINED_NOTICE, judged_facts

BASE = {"name": "stunet-tiny.untrained", "weights": {"tag": "untrained", "sha256": None}, "needs": {}}
REQUEST = {
    "model": {
        "name": "model",
        "weights": {"tag": "adapted", "sha256": {"weights.safetensors": "ab" * 32}},
        "needs": {},
        "base": BASE,
    },
    "data": {"name": "phantom", "split": "test"},
    "evaluator": {"name": "segmentation", "settings": {}},
}
FACTS = {
    "seed": 0,
    "mirror": True,
    "seconds": 12.3456789,
    "nothing": None,
    "versions": {"numpy": "2.4.6", "torch": {"version": "2.13.0", "cuda": None}},
    "inputs": [{"path": f"case{n}.nii.gz", "sha256": "ab" * 32} for n in range(13)],
    "gpus": ["a", "b"],
}


def write_run(folder, *records, **facts):
    (folder / "run.json").write_text(
        json.dumps({"omlab_run": 2, "run": "evaluate", "request": {"command": "evaluate"}, **facts})
    )
    (folder / "cases.jsonl").write_bytes(b"".join(record.to_line() for record in records))
    return folder


def sections(run):
    return {section.title: section for section in run_sections(run)}


def test_what_was_judged_is_open_and_the_environment_is_folded():
    facts = {"request": REQUEST, "arguments": {"predictions": "out/seg"}, **FACTS}
    judged, single, *groups = run_sections(ReportedRun(facts=facts))[0].blocks
    assert judged.facts == {
        "Model": "model, adapted from stunet-tiny.untrained",
        "Adapted from": f"stunet-tiny.untrained, {FROM_UNTRAINED}",
        "Weights": "adapted: weights.safetensors, sha256 abababababab…",
        "Predictions": "out/seg",
        "Data": "phantom (test)",
        "Evaluator": "segmentation",
    }
    assert not judged.folded
    assert all(one.folded for one in (single, *groups))
    assert single.facts == {"Seed": "0", "Mirror": "yes", "Seconds": "12.3457", "Gpus": "a, b"}
    by_title = {one.title: one.facts for one in groups}
    assert by_title["Versions"] == {"numpy": "2.4.6", "torch.version": "2.13.0", "torch.cuda": "none"}
    assert by_title["Inputs"]["8.path"] == "case7.nii.gz"


def test_the_run_of_a_case_is_known_while_it_is_written(tmp_path):
    write_run(tmp_path, request=REQUEST)
    assert run_of_case(tmp_path / ".attempt").facts["request"] == REQUEST
    assert run_of_case(tmp_path / "elsewhere") is None
    assert run_of_case(tmp_path / "none" / ".attempt") is None


def test_the_model_is_named_and_what_random_weights_mean_is_said():
    assert model_words(REQUEST) == "model, adapted from stunet-tiny.untrained"
    assert run_notices(ReportedRun(facts={"request": REQUEST})) == []  # it has learned in the adaptation
    (notice,) = run_notices(ReportedRun(facts={"request": {"model": BASE}}))
    assert notice == UNTRAINED_NOTICE.format(name="stunet-tiny.untrained")
    needing = {"name": "mil.v1", "weights": {"tag": "v1"}, "needs": {"encoder": BASE}}
    assert run_notices(ReportedRun(facts={"request": {"model": needing}})) == [notice]
    assert run_notices(None) == []


def test_what_compares_models_names_all_of_them_and_both_splits():
    request = {"data": [{"name": "toy", "split": "train"}, {"name": "toy", "split": "test"}]}
    facts = judged_facts({"request": request, "arguments": {"models": ["a", "b.v2"]}})
    assert facts == {"Models": "a, b.v2", "Data": "toy (train), toy (test)"}


def test_requests_of_any_form_are_told_as_far_as_they_tell():
    assert judged_facts({"request": {"data": "cases", "model": "net.v1", "evaluator": ["x"]}}) == {
        "Model": "net.v1",
        "Data": "cases",
        "Evaluator": "['x']",
    }
    assert judged_facts({"request": {"data": 5, "needs": 3}, "arguments": {"models": "a"}}) == {"Data": "5"}
    assert run_notices(ReportedRun(facts={"request": {"model": {"name": "a", "needs": ["b"], "weights": "w"}}})) == []


def test_predictions_of_unknown_origin_are_called_so():
    run = ReportedRun(facts={"request": {"command": "evaluate", "predictions": "ab" * 32}})
    assert run_notices(run) == [UNKNOWN_ORIGIN]
    assert model_words(run.facts["request"]) == "predictions of unknown origin"
    assert model_words({}) == ""


def test_a_folder_that_is_no_run_has_no_sections(tmp_path):
    assert read_run(tmp_path) is None
    (tmp_path / "run.json").write_text("{")
    assert run_sections(read_run(tmp_path)) == []


def test_what_became_of_the_cases_is_read_from_the_log(tmp_path):
    write_run(
        tmp_path,
        Record(id="b", status="failed", reason="b was interrupted."),
        Record(id="c", status="done"),
        Record(id="a", status="done", warnings=["Resampled.", "Cropped."]),
        Record(id="b", status="failed", reason="b.nii.gz is empty.", warnings=["Resampled."]),
        Record(id="d", status="failed"),
        seed=7,
    )
    found = sections(read_run(tmp_path))
    assert list(found) == ["Failed cases", "Warnings", "Provenance"]
    assert found["Failed cases"].blocks[0].rows == [["b", "b.nii.gz is empty."], ["d", "no reason was recorded"]]
    assert found["Warnings"].blocks[0].rows == [["a", "Resampled."], ["a", "Cropped."]]
    assert found["Provenance"].blocks[0].facts == {"Run": "evaluate", "Seed": "7"}


def test_no_section_where_all_is_well(tmp_path):
    assert list(sections(read_run(write_run(tmp_path, Record(id="a", status="done"))))) == ["Provenance"]


def test_of_very_many_the_first_are_shown_and_the_others_counted(tmp_path):
    records = [Record(id=f"{n:05}", status="failed", reason="no") for n in range(1204)]
    section = sections(read_run(write_run(tmp_path, *records)))["Failed cases"]
    assert [row[0] for row in section.blocks[0].rows] == [f"{n:05}" for n in range(1000)]
    assert "204 more are in cases.jsonl" in section.text


def test_reading_a_run_brings_no_torch():
    code = "import sys, omlab_report; print([m for m in ('torch', 'pandas', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
