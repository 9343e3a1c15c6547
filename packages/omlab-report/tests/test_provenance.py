from omlab_report import failed_cases, provenance, warned_cases

RUN = {
    "model": "stunet-base",
    "seed": 0,
    "mirror": True,
    "seconds": 12.3456789,
    "nothing": None,
    "versions": {"numpy": "2.4.6", "torch": {"version": "2.13.0", "cuda": None}},
    "inputs": [{"path": f"case{n}.nii.gz", "sha256": "ab" * 32} for n in range(13)],
    "gpus": ["a", "b"],
    "cases": {
        "a": {"status": "done", "warnings": ["Resampled.", "Cropped."]},
        "b": {"status": "failed", "reason": "b.nii.gz is empty.", "warnings": ["Resampled."]},
    },
}


def test_facts_are_shown_by_group_and_long_groups_are_folded():
    single, versions, inputs = provenance(RUN).blocks
    assert single.facts == {"Model": "stunet-base", "Seed": "0", "Mirror": "yes", "Seconds": "12.3457", "Gpus": "a, b"}
    assert versions.facts == {"numpy": "2.4.6", "torch.version": "2.13.0", "torch.cuda": "none"}
    assert not versions.folded
    assert inputs.facts["8.path"] == "case7.nii.gz"
    assert inputs.folded


def test_an_empty_run_has_no_facts():
    assert list(provenance({}).blocks) == []


def test_failed_cases_are_listed_with_their_reason():
    expected = [["b", "b.nii.gz is empty."]]
    assert failed_cases(RUN).blocks[0].rows == expected
    records = [{"id": id, **record} for id, record in RUN["cases"].items()]
    assert failed_cases({"cases": records}).blocks[0].rows == expected


def test_no_section_where_nothing_failed():
    assert failed_cases({"cases": {"a": {"status": "ok"}}}) is None
    assert failed_cases({}) is None
    assert warned_cases({"cases": {"a": {"status": "done", "warnings": []}}}) is None


def test_warnings_of_cases_that_have_figures_are_listed():
    assert warned_cases(RUN).blocks[0].rows == [["a", "Resampled."], ["a", "Cropped."]]
