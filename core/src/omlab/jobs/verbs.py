"""Any verb on any cases: paths or data -> inputs -> session -> results -> paths, as one run.

`omlab predict`, `embed`, `score` and the like are this job.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

from omlab.card_schema import FormatCard, Verb
from omlab.datasets import DataRef, open_dataset
from omlab.devices import describe_device
from omlab.digests import digest_of
from omlab.engine import Item, Roles, Stages, do_cases
from omlab.errors import OmlabWarning, OutputError, UsageError
from omlab.files import write_json, writing
from omlab.formats import format_cards, named_format, read, read_format, suffix_of
from omlab.jobs.outcome import Outcome
from omlab.jobs.outputs import PICTURE, Outputs, collect, draw, file_name, main_format
from omlab.jobs.running import at_work, finish
from omlab.jobs.sources import Given, cases_of_data, cases_of_paths, unlike_log
from omlab.models import ModelRef, Needs, find_card, find_model
from omlab.records import Record
from omlab.roles import Case, Sample
from omlab.runs import LOG, Run, open_run, read_log_file, same_request
from omlab.session import Prepared, Session, verb_of
from omlab.settings import complete
from omlab.shards import this_shard
from omlab.stamps import all_agree, parts_of

UNTRAINED_NOTE = "The weights of '{name}' are untrained: drawn at random, so that what it gives means nothing."


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run of a verb is to do.

    Attributes:
        verb: The verb, and what the card says of it.
        options: Of the call, complete.
        format: Of the main output; None: each part's default.
        suffix: Of the main output.
        batch: How many cases go through the model at once.
    """

    verb: str
    facts: Verb
    options: Mapping[str, Any]
    format: FormatCard | None
    suffix: str
    batch: int


def apply_verb(
    verb: str,
    model: str | Path,
    inputs: str | Path | Sequence[str | Path] = (),
    *,
    named: Mapping[str, str | Path] | None = None,
    values: Mapping[str, Any] | None = None,
    data: str | None = None,
    split: str | None = None,
    root: str | Path | None = None,
    data_settings: Mapping[str, Any] | None = None,
    mapped: Mapping[str, str] | None = None,
    output: str | Path | None = None,
    as_format: str | None = None,
    overlay: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    needs: Needs | None = None,
    batch: int | None = None,
    read_settings: Mapping[str, Mapping[str, Any]] | None = None,
    offline: bool | None = None,
) -> Outcome:
    """Apply a verb of a model to files, folders or a split of a data set.

    Args:
        verb: Such as `predict` or `embed`.
        model: Name of a model or folder of an adapted one.
        inputs: A path, or several: files, folders of files, DICOM series folders.
        named: Paths of further inputs, by their names.
        values: Inputs that are given themselves, by their names.
        data: Name of a data set (`NAME` or `NAME:PATH`) in place of paths.
        split: Its split; by default `test`, of own files all.
        root: Where its files are.
        data_settings: Values for its settings.
        mapped: The verb's names of inputs to the data set's, where they cannot be told.
        output: A file (one case) or a folder for the run; by default a folder in `omlab-runs/`.
        as_format: Name of the format to write; by default that of the file's suffix, or of the result's kind.
        overlay: A PNG file for the picture of one result, or a folder for pictures.
        weights: A local checkpoint instead of published weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        settings: Values for the model's settings.
        options: Values for the verb's options.
        needs: Other models for those that the card needs.
        batch: How many cases at once; by default what the card says.
        read_settings: Values for the settings of formats, by input ("" for all).
        offline: True: never fetch weights.

    Returns:
        The place of the results and the status of each case.

    Raises:
        OmlabError: When nothing could be started or nothing more can be written.
    """
    card = find_card(model)
    facts = verb_of(card, verb, name=str(model))
    chosen = complete(facts.options, options or {}, of=f"'{verb}' of '{model}'")
    paths = [Path(path) for path in ([inputs] if isinstance(inputs, str | Path) else inputs)]
    given = Given(
        paths=paths,
        named={name: Path(path) for name, path in (named or {}).items()},
        values=values or {},
        read=read_settings or {},
    )
    place = Path(output) if output is not None else None
    format = named_format(as_format, facts.gives) if as_format else None
    into_file = place is not None and format_of_file(str(output), facts.gives)
    format, suffix = main_format(facts.gives, output=place if into_file else None, named=format)
    source: DataRef | None = None
    cases: Sequence[Case]
    if data is not None:
        if paths or given.named or given.values:
            raise UsageError("Name either files or a data set (--data), not both.")
        source = open_dataset(data, root=root, settings=data_settings or {})
        splits = source.splits_for(split)
        source.dataset.prepare()
        cases = [
            case
            for each in splits
            for case in cases_of_data(source.dataset, each, facts, model=str(model), name=source.name, mapped=mapped)
        ]
    else:
        cases = cases_of_paths(given, facts, model=str(model))
    pictures = plan_pictures(facts.gives, overlay, [case.id for case in cases]) if overlay is not None else {}
    ref = find_model(model, weights=weights, device=device, settings=settings, needs=needs, offline=offline)
    wanted = Wanted(verb=verb, facts=facts, options=chosen, format=format, suffix=suffix, batch=batch or facts.at_once)
    request = _request(ref, wanted, given, source)
    arguments = {
        "model": str(model),
        "inputs": [str(path) for path in paths] or ([data] if data else []),
        "named": {name: str(path) for name, path in given.named.items()},
        "output": str(output or ""),
    }
    if into_file and place is not None and (format is None or facts.gives not in format.collects):
        return _into_file(wanted, ref, cases, place, request=request, arguments=arguments, pictures=pictures)
    if format is not None and facts.gives in format.collects:
        arguments["collected"] = {"path": f"{verb}{suffix}", "format": format.name}
    final = place or default_place(ref, verb, cases, request)
    run = open_run(final, kind=verb, request=request, arguments=arguments, shard=this_shard())
    return _in_run(run, wanted, ref, cases, pictures=pictures)


def _request(ref: ModelRef, wanted: Wanted, given: Given, source: DataRef | None) -> dict[str, Any]:
    """What makes two runs the same work. Batches are not in it: one alone is as one in a batch."""
    request: dict[str, Any] = {"command": wanted.verb, "model": ref.identity(), "device": ref.device}
    if wanted.options:
        request["options"] = dict(wanted.options)
    if given.named:
        request["inputs"] = {name: digest_of(_stamps([path])) for name, path in given.named.items()}
    if given.values:
        request["values"] = dict(given.values)
    if given.read:
        request["read"] = {name: dict(values) for name, values in given.read.items()}
    if wanted.format is not None:
        request["format"] = wanted.format.name
    if source is not None:
        request["data"] = {"name": source.card.name, "settings": dict(source.settings)}
    return request


def _stamps(paths: Iterable[Path]) -> list[str]:
    from omlab.digests import file_digest

    return [file_digest(path) for path in paths]


def default_place(ref: ModelRef, verb: str, cases: Sequence[Case], request: Mapping[str, Any]) -> Path:
    """The folder of a run whose user names none: always the same one for the same request."""
    files = sorted(str(path.absolute()) for case in cases for paths in case.files.values() for path in paths)
    return Path("omlab-runs") / f"{verb}-{ref.name}-{digest_of([request, files])[:8]}"


def format_of_file(output: str, gives: str) -> bool:
    """Whether `output` is a file for a result of kind `gives`, not a folder.

    Raises `UsageError` where its suffix is that of a format which does not write such a result, or of a picture.
    """
    if output.endswith("/") or Path(output).is_dir():
        return False
    if suffix_of(Path(output), [card for card in format_cards() if gives in card.writes]):
        return True
    suffix = Path(output).suffix.lower()
    if suffix == PICTURE or suffix in {suffix for card in format_cards() for suffix in card.suffixes}:
        known = ", ".join(sorted({s for card in format_cards() if gives in card.writes for s in card.suffixes}))
        hint = " A picture is asked for with --overlay." if suffix == PICTURE else ""
        raise UsageError(f"A {gives} cannot be written to {output}; suffixes that would do: {known or 'none'}.{hint}")
    return False


def _in_run(run: Run, wanted: Wanted, ref: ModelRef, cases: Sequence[Case], *, pictures: Mapping[str, Path]) -> Outcome:
    """Do what the run lacks."""
    try:
        cases = unlike_log(cases, run.log) if all(hasattr(case, "meta") for case in cases) else cases  # type: ignore[arg-type]
        mine = [case for case in cases if run.shard.holds(case.id)]
        missing = [case for case in mine if not run.is_done(case.id, parts_of(case))]
        was_whole = run.folder == run.final and bool(len(run.log)) and not missing
    except BaseException:
        run.abandon()
        raise
    if was_whole:
        run.close()
        outcome = Outcome(place=run.final, log=run.log, was_complete=True)
        return _with_pictures(outcome, cases, wanted, pictures)
    with at_work(run):
        notes = _notes(ref)
        run.notes += [*notes, f"{wanted.verb} on {describe_device(ref.device)}"]
        if missing:
            _do(run, ref.session(), wanted, missing, pictures=pictures)
        whole = finish(run, lambda: _collect(run, wanted))
    outcome = Outcome(place=run.final, log=run.log, is_whole=whole, notes=notes)
    return replace(outcome, pictures=[path for path in pictures.values() if path.exists()])


def _notes(ref: ModelRef) -> list[str]:
    return [UNTRAINED_NOTE.format(name=ref.name)] if ref.is_untrained else []


def _do(run: Run, session: Session, wanted: Wanted, cases: Sequence[Case], *, pictures: Mapping[str, Path]) -> None:
    outputs = Outputs(run=run, format=wanted.format, suffix=wanted.suffix, pictures=pictures)

    def read_case(case: Case) -> tuple[Sample, Prepared]:
        sample = case.load()
        return sample, session.prepare(wanted.verb, sample.inputs, **wanted.options)

    def apply(batch: list[Any]) -> Sequence[Any]:
        return session.apply(wanted.verb, [prepared for _, prepared in batch], **wanted.options)

    def write(item: Item, result: Any, folder: Path) -> Roles:
        return outputs.write(item, item.value[0], result, folder)

    stages = Stages(read=read_case, apply=apply, write=write, batch=wanted.batch, sampled=_lazy(cases))
    try:
        do_cases(run, cases, stages, total=len(cases))
    finally:
        outputs.close()


def _lazy(cases: Sequence[Case]) -> list[str]:
    """Names of inputs whose format is read in parts; told by the first case."""
    sources = getattr(cases[0], "sources", {})
    return [
        name
        for name, source in sources.items()
        if source.paths and source.paths[0].exists() and read_format(source.paths[0], source.kind).lazy
    ]


def _collect(run: Run, wanted: Wanted) -> None:
    if wanted.format is not None and wanted.facts.gives in wanted.format.collects:
        collect(run, wanted.format, f"{wanted.verb}{wanted.suffix}")


def _into_file(
    wanted: Wanted,
    ref: ModelRef,
    cases: Sequence[Case],
    output: Path,
    *,
    request: Mapping[str, Any],
    arguments: Mapping[str, Any],
    pictures: Mapping[str, Path],
) -> Outcome:
    """One case, one file: made in a run beside it, whose log is kept as `<file>.run.json`."""
    if len(cases) != 1:
        raise UsageError(f"{len(cases)} inputs cannot go into one file {output}; name a folder with -o.")
    case, log = cases[0], output.with_name(f"{output.name}.{LOG}")
    if output.exists():
        outcome = Outcome(place=output, log=[_record_of(output, log, wanted, request, case)], was_complete=True)
        return _with_pictures(outcome, cases, wanted, pictures)
    place = output.absolute().with_name(f".{output.name}.run")
    run = open_run(place, kind=wanted.verb, request=request, arguments=arguments)
    outcome = _in_run(run, wanted, ref, cases, pictures=pictures)
    record = outcome.cases[case.id]
    if record.status == "done":
        with writing("The result", output):
            _move(place, record, output)
            known = read_log_file(place / LOG) or {}
            write_json(log, {**known, "case": vars(record)})
    rmtree(place, ignore_errors=True)
    return replace(outcome, place=output, log=[record])


def _move(place: Path, record: Record, output: Path) -> None:
    """Give the main output the file's name, and what stands beside it and further parts names like it."""
    own = [row for row in record.outputs if row["role"] == "main"]
    stem = file_name(record.id)
    for row in record.outputs:
        name = output.name if row is own[0] else _beside_name(output.name, own[0]["path"], row["path"], stem)
        (place / row["path"]).replace(output.with_name(name))
        row["path"] = name


def _beside_name(main: str, made: str, other: str, stem: str) -> str:
    """`seg.nii.gz` beside `ct.dcm` of the case `ct` makes `seg.dcm`."""
    suffix = made.removeprefix(stem)
    base = main.removesuffix(suffix) if suffix and main.endswith(suffix) else main
    return base + other.removeprefix(stem)


def _record_of(output: Path, log: Path, wanted: Wanted, request: Mapping[str, Any], case: Case) -> Record:
    """The record of a file that is there already; raises `OutputError` where it is of something else."""
    known = read_log_file(log)
    if known is None:
        raise OutputError(f"{output} exists already and is not a result of omlab; remove it or choose another output.")
    record = Record(**known["case"])
    if not same_request(known, wanted.verb, request) or not all_agree(record.inputs, parts_of(case)):
        raise OutputError(f"{output} is the result of another request; remove it or choose another output.")
    return record


def plan_pictures(gives: str, place: str | Path, ids: Sequence[str]) -> dict[str, Path]:
    """Where the picture of each case goes: `place` for one case, or `<id>.png` in it where it is a folder.

    Raises `UsageError` where such results have no picture, or the place is neither a PNG file nor a folder.
    """
    if not any(gives in card.pictured for card in format_cards()):
        raise UsageError(f"A {gives} has no picture: leave --overlay out.")
    file = Path(place)
    if str(place).endswith("/") or file.is_dir() or not file.suffix:
        return {id: file / f"{file_name(id)}{PICTURE}" for id in ids}
    if file.suffix.lower() != PICTURE:
        raise UsageError(f"A picture cannot be written to {place}: name a file that ends in {PICTURE}, or a folder.")
    if len(ids) > 1:
        raise UsageError(f"{len(ids)} pictures cannot go into one file {place}; name a folder with --overlay.")
    return dict.fromkeys(ids, file)


def _with_pictures(outcome: Outcome, cases: Sequence[Case], wanted: Wanted, pictures: Mapping[str, Path]) -> Outcome:
    """Pictures asked for later, of results that are there: drawn without doing the work again."""
    by_id = {case.id: case for case in cases}
    drawn = []
    for id, place in pictures.items():
        record = outcome.cases.get(id)
        if record is None or record.status != "done":
            continue
        if not place.exists():
            folder = outcome.place if outcome.place.is_dir() else outcome.place.parent
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OmlabWarning)  # what there is to say of the input is in its record
                result = read(folder / record.main()[0], kind=wanted.facts.gives)
                draw(result, by_id[id].load(), place)
        drawn.append(place)
    return replace(outcome, pictures=drawn)
