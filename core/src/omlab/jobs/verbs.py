"""Any verb on any cases: paths or data -> inputs -> session -> results -> paths, as one run.

`omlab predict`, `embed`, `score` and the like are this job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omlab.arguments import name_of, path_of, paths_of, table_of
from omlab.card_schema import FormatCard, Verb
from omlab.datasets import DataRef
from omlab.devices import describe_device, sort_of
from omlab.digests import digest_of
from omlab.engine import Item, Roles, Stages, do_cases
from omlab.errors import UsageError
from omlab.formats import named_format, read_format
from omlab.jobs.fitting import fitting
from omlab.jobs.one_file import OneFile, is_one_file
from omlab.jobs.outcome import Outcome
from omlab.jobs.outputs import Outputs, collect, main_format
from omlab.jobs.pictures import check_pictures, plan_pictures, with_pictures
from omlab.jobs.running import at_work, finish, letting_go
from omlab.jobs.sources import Given, chosen_cases, unlike_log
from omlab.models import ModelRef, Needs, find_card, find_model, untrained_notes
from omlab.roles import Case, Sample
from omlab.runs import Run, open_run
from omlab.session import Prepared, Session, verb_of
from omlab.settings import complete, decisive
from omlab.shards import this_shard


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

    @property
    def collected(self) -> str:
        """Name of the file that holds the results of all cases; "" where each has its own."""
        if self.format is None or self.facts.gives not in self.format.collects:
            return ""
        return f"{self.verb}{self.suffix}"


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
        overlay: A PNG file for the picture of one result, a file of a format that draws such results over their input
            (a film), or a folder for pictures.
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
    name, verb = name_of(model, "The model"), name_of(verb, "The verb")
    given = Given(
        paths=paths_of(inputs, "An input"),
        named={key: path_of(path, f"The input '{key}'") for key, path in table_of(named, "Named inputs").items()},
        values=table_of(values, "Values"),
        read={
            key: table_of(table, "The settings of a format")
            for key, table in table_of(read_settings, "The settings of formats").items()
        },
    )
    known = {*table_of(settings, "The settings"), *table_of(options, "The options")}
    name = fitting(name, verb, given.paths, named={*given.named, *given.values}, settings=known)
    facts = verb_of(find_card(name), verb, name=name)
    chosen = complete(facts.options, table_of(options, "The options"), of=f"'{verb}' of '{name}'")
    place = path_of(output, "The output") if output is not None else None
    pictures = path_of(overlay, "The overlay") if overlay is not None else None
    into_file = place is not None and is_one_file(str(output), facts.gives)
    format, suffix = main_format(
        facts.gives,
        output=place if into_file else None,
        named=named_format(name_of(as_format, "The format"), facts.gives) if as_format is not None else None,
    )
    wanted = Wanted(
        verb=verb, facts=facts, options=chosen, format=format, suffix=suffix, batch=_batch(batch, facts.at_once)
    )
    source, cases = chosen_cases(
        given, facts, model=name, data=data, split=split, root=root, settings=data_settings, mapped=mapped
    )
    check_pictures(facts.gives, pictures, count=len(cases))
    ref = find_model(name, weights=weights, device=device, settings=settings, needs=needs, offline=offline)
    request = _request(ref, wanted, given, source)
    arguments: dict[str, Any] = {
        "model": name,
        "inputs": [str(path) for path in given.paths] or ([data] if data else []),
        "named": {key: str(path) for key, path in given.named.items()},
        "output": str(output or ""),
    }
    if wanted.collected and format is not None:
        arguments["collected"] = {"path": wanted.collected, "format": format.name}
    do = partial(_in_run, wanted, ref, cases, request=request, arguments=arguments, pictures=pictures)
    if place is not None and into_file:
        file = OneFile(path=place, kind=verb, request=request, collected=wanted.collected)
        file.check(cases)
        there = file.there(cases)
        if there is None:
            return file.make(do)
        return with_pictures(there, cases, facts.gives, plan_pictures(pictures, [case.id for case in cases]))
    return do(place or default_place(ref, verb, cases, request))


def _batch(given: Any, usual: int) -> int:
    if given is None:
        return usual
    if not isinstance(given, int) or given < 1:
        raise UsageError(f"The batch is {given!r}, but must be a whole number from 1.")
    return given


def _request(ref: ModelRef, wanted: Wanted, given: Given, source: DataRef | None) -> dict[str, Any]:
    """What makes two runs the same work: not the inputs, by which cases are told, nor batches, which change nothing."""
    request: dict[str, Any] = {"command": wanted.verb, "model": ref.identity(), "device": sort_of(ref.device)}
    options = decisive(wanted.facts.options, wanted.options)
    if options:
        request["options"] = options
    if given.values:
        request["values"] = dict(given.values)
    if given.read:
        request["read"] = {name: dict(values) for name, values in given.read.items()}
    if wanted.format is not None:
        request["format"] = wanted.format.name
    if source is not None:
        request["data"] = {"name": source.card.name, "settings": decisive(source.card.settings, source.settings)}
    return request


def default_place(ref: ModelRef, verb: str, cases: Sequence[Case], request: Mapping[str, Any]) -> Path:
    """The folder of a run whose user names none: always the same one for the same request."""
    files = sorted(str(path.absolute()) for case in cases for paths in case.files.values() for path in paths)
    return Path("omlab-runs") / f"{verb}-{ref.name}-{digest_of([request, files])[:8]}"


def _in_run(
    wanted: Wanted,
    ref: ModelRef,
    cases: Sequence[Case],
    final: Path,
    *,
    request: Mapping[str, Any],
    arguments: Mapping[str, Any],
    pictures: Path | None,
) -> Outcome:
    """Do what the run of that folder lacks."""
    run = open_run(final, kind=wanted.verb, request=request, arguments=arguments, shard=this_shard())
    with letting_go(run):
        undone = run.undone(cases)
        renamed = dict(zip((case.id for case in undone), unlike_log(undone, run.log), strict=True))
        cases = [renamed.get(case.id, case) for case in cases]
        missing = run.missing(list(renamed.values()))
        places = plan_pictures(pictures, [case.id for case in cases])
    notes = untrained_notes(ref)
    if run.is_whole and not missing and (run.folder / wanted.collected).exists():
        run.close()
        outcome = Outcome(place=run.final, log=run.log, was_complete=True, notes=notes)
        return with_pictures(outcome, cases, wanted.facts.gives, places)
    with at_work(run):
        for sentence in (*notes, f"{wanted.verb} on {describe_device(ref.device)}"):
            run.note(sentence)
        if missing:
            _do(run, ref.session(), wanted, missing, pictures=places)
        whole = finish(run, lambda: _collect(run, wanted))
    drawn = [path for path in places.values() if path.exists()]
    return Outcome(place=run.final, log=run.log, is_whole=whole, notes=notes, pictures=drawn)


def _do(run: Run, session: Session, wanted: Wanted, cases: Sequence[Case], *, pictures: Mapping[str, Path]) -> None:
    outputs = Outputs(run=run, format=wanted.format, suffix=wanted.suffix, pictures=pictures)

    def read_case(case: Case) -> tuple[Sample, Prepared]:
        sample = case.load()
        return sample, session.prepare(wanted.verb, sample.inputs, **wanted.options)

    def apply(batch: list[Any]) -> Sequence[Any]:
        return session.apply(wanted.verb, [prepared for _, prepared in batch], **wanted.options)

    def write(item: Item, result: Any, folder: Path) -> Roles:
        return outputs.write(item, item.value[0], result, folder)

    stages = Stages(
        read=read_case,
        apply=apply,
        write=write,
        batch=wanted.batch,
        sampled=_lazy(cases),
        inputs_of=lambda read: read[0].inputs,
    )
    with closing(outputs):
        do_cases(run, cases, stages, total=len(cases))


def _lazy(cases: Sequence[Case]) -> list[str]:
    """Names of inputs whose format is read in parts; told by the first case."""
    sources = getattr(cases[0], "sources", {})
    return [
        name
        for name, source in sources.items()
        if source.paths and source.paths[0].exists() and read_format(source.paths[0], source.kind).lazy
    ]


def _collect(run: Run, wanted: Wanted) -> None:
    if wanted.collected and wanted.format is not None:
        collect(run, wanted.format, wanted.collected)
