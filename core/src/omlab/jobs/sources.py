"""Where the cases of a job come from: paths that a user names, or a split of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omlab.arguments import table_of
from omlab.card_schema import Verb
from omlab.cases import PathCase, Source, cases_in
from omlab.datasets import DataRef, open_dataset
from omlab.errors import InputError, UsageError
from omlab.formats import read_format
from omlab.records import CaseLog
from omlab.roles import Case, Dataset, Sample
from omlab.session import Session
from omlab.settings import complete
from omlab.stamps import is_copy, parts_of, said
from omlab.suggest import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a user named for a verb.

    Attributes:
        paths: Of the input without a name.
        named: Paths of further inputs by name.
        values: Inputs that are given themselves, by name.
        read: Settings of formats, by input; those for all under "".
    """

    paths: Sequence[Path] = ()
    named: Mapping[str, Path] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    read: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def chosen_cases(
    given: Given,
    facts: Verb,
    *,
    model: str,
    data: str | None = None,
    split: str | None = None,
    root: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    mapped: Mapping[str, str] | None = None,
) -> tuple[DataRef | None, Sequence[Case]]:
    """The cases that a user asked for, and the data set that they are of; None: they were given as paths.

    Args:
        given: Paths and values.
        facts: The verb that is to be done with them.
        model: Whose verb it is, for messages.
        data: Name of a data set (`NAME` or `NAME:PATH`) in place of paths.
        split: Its split; by default `test`, of own files all.
        root: Where its files are.
        settings: Values for its settings.
        mapped: The verb's names of inputs to the data set's, where they cannot be told.

    Raises:
        OmlabError: Both or neither are given, or what was given is not there.
    """
    if data is None:
        return None, cases_of_paths(given, facts, model=model)
    if given.paths or given.named or given.values:
        raise UsageError("Name either files or a data set (--data), not both.")
    source = open_dataset(data, root=root, settings=settings or {})
    splits = source.splits_for(split)
    source.dataset.prepare()
    return source, [
        case
        for each in splits
        for case in cases_of_data(source.dataset, each, facts, model=model, name=source.name, mapped=mapped)
    ]


def cases_of_paths(given: Given, facts: Verb, *, model: str) -> list[PathCase]:
    """The cases that a user named. Raises `UsageError` where an input is missing or unknown, `InputError`."""
    for name in (*given.named, *given.values):
        if name not in facts.takes:
            raise UsageError(
                f"'{model}' has no input '{name}': {did_you_mean(name, facts.takes, none='it takes none.')}"
            )
    also = {name: Source(kind=facts.kinds[name], value=value) for name, value in given.values.items()}
    for source in also.values():
        source.read()  # what cannot be made of a value is told before anything begins
    for name, path in given.named.items():
        if not path.exists():
            raise InputError(f"{path} does not exist.")
        also[name] = Source(kind=facts.kinds[name], paths=(path,), settings=_settings(given, name))
    free = [name for name in facts.required if name not in also]
    if not given.paths:
        if free:
            raise UsageError(f"Nothing to do: name at least one file or folder for '{free[0]}' of '{model}'.")
        first = next(iter(also))
        lone = also.pop(first)
        if not lone.paths:
            return [PathCase(id=first, sources={first: lone, **also})]
        found = cases_in(lone.paths, lone.kind, name=first, also=also, settings=lone.settings)
    else:
        if not free:
            raise UsageError(f"All inputs of '{model}' are named already: {given.paths[0]} is one too many.")
        name = free[0]
        _check_named(facts, set(also) | {name}, model=model)
        found = cases_in(given.paths, facts.kinds[name], name=name, also=also, settings=_settings(given, name))
    _check_settings(found)
    return found


def _check_named(facts: Verb, given: set[str], *, model: str) -> None:
    for name in facts.required:
        if name not in given:
            kinds = facts.accepts.get(name)
            which = f" ({' or '.join(kinds)})" if kinds else ""
            raise UsageError(f"'{model}' needs the input '{name}', {facts.kinds[name]}{which}: give {name}=FILE.")


def _settings(given: Given, name: str) -> dict[str, Any]:
    return {**given.read.get("", {}), **given.read.get(name, {})}


def _check_settings(cases: Sequence[PathCase]) -> None:
    """Raise `SettingsError` where the format of one of the inputs has no such settings."""
    for case in cases:
        for source in case.sources.values():
            if source.settings:
                card = read_format(source.paths[0], source.kind)
                complete(card.settings, source.settings, of=f"the format '{card.name}'")


def unlike_log(cases: Sequence[Case], log: CaseLog) -> Sequence[Case]:
    """The cases with ids under which the log does not hold another input: those get a longer name.

    A scan of another patient that happens to be called the same must not take the place of the first. Cases of a data
    set have the ids that it gives them.

    Raises `UsageError` where no name is left.
    """
    if not len(log):
        return cases
    with log.opened():
        return [_unlike_log(case, log) for case in cases]


def _unlike_log(case: Case, log: CaseLog) -> Case:
    for name in case.names() if isinstance(case, PathCase) else [case.id]:
        if _is_same_input(case, name, log):
            return replace(case, id=name) if isinstance(case, PathCase) else case
    files = ", ".join(str(path) for paths in case.files.values() for path in paths)
    raise UsageError(f"The output holds a case '{case.id}' of another input than {files}: choose another output.")


def _is_same_input(case: Case, id: str, log: CaseLog) -> bool:
    """Whether the log has no such case, or one of the same paths, or of files that are the same elsewhere."""
    record = log.get(id)
    if record is None or not record.inputs:  # without inputs: it failed before its files were looked at
        return True
    if set(record.inputs) != set(parts_of(case)):
        return False
    for name, paths in case.files.items():
        known = [row for row in record.inputs[name] if "path" in row]
        if [row["path"] for row in known] == [said(path) for path in paths]:
            continue
        if len(known) != len(paths) or not all(is_copy(row, path) for row, path in zip(known, paths, strict=True)):
            return False
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class MappedCase:
    """A case of a data set with its inputs under the names that a verb has for them."""

    case: Case
    names: Mapping[str, str]

    @property
    def id(self) -> str:
        """As in the data set."""
        return self.case.id

    @property
    def group(self) -> str | None:
        """As in the data set."""
        return self.case.group

    @property
    def label(self) -> str | None:
        """The class, where the data set's list says it."""
        found: str | None = getattr(self.case, "label", None)
        return found

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """The files, under the verb's names."""
        return {self.names.get(name, name): paths for name, paths in self.case.files.items()}

    @property
    def sources(self) -> Mapping[str, Source]:
        """Likewise, where the data set says them."""
        return {self.names.get(name, name): source for name, source in getattr(self.case, "sources", {}).items()}

    @property
    def target(self) -> Source | None:
        """Where its target comes from, where the data set says it."""
        return getattr(self.case, "target", None)

    def load(self) -> Sample:
        """Read it; what the verb has no place for is left out."""
        sample = self.case.load()
        return replace(
            sample, inputs={self.names[name]: part for name, part in sample.inputs.items() if name in self.names}
        )


def cases_of_data(
    data: Dataset, split: str, facts: Verb, *, model: str, name: str, mapped: Mapping[str, str] | None = None
) -> Sequence[Case]:
    """The cases of a split, their inputs matched to the verb's: by `--map`, by name, by a kind that occurs once.

    Raises `UsageError` where a required input is not among them.
    """
    about = data.about(split)
    names = match_inputs(about.inputs, facts, model=model, data=name, mapped=table_of(mapped, "The names of inputs"))
    return [MappedCase(case=case, names=names) for case in data.cases(split)]


def cases_for(session: Session, verb: str, data: Dataset, split: str) -> Sequence[Case]:
    """The cases of a split with their inputs under the names that a session's verb has for them.

    Raises `UsageError` where a required input is not among them.
    """
    return cases_of_data(data, split, session.verb(verb), model=session.name, name="the data set")


def match_inputs(
    kinds: Mapping[str, str], facts: Verb, *, model: str, data: str, mapped: Mapping[str, str], whole: bool = True
) -> dict[str, str]:
    """The data set's names of inputs to the verb's. `mapped`: the verb's name to the data set's.

    Raises `UsageError` for a name that is not there, and where `whole`, for a required input that is lacking.
    """
    names: dict[str, str] = {}
    for theirs, ours in mapped.items():
        if theirs not in facts.takes:
            raise UsageError(f"--map: '{model}' has no input '{theirs}': {did_you_mean(theirs, facts.takes, none='')}")
        if ours not in kinds:
            raise UsageError(f"--map: '{data}' has no '{ours}': {did_you_mean(ours, kinds, none='it has no inputs.')}")
        names[ours] = theirs
    for name, kind in kinds.items():
        if name not in names and facts.kinds.get(name) == kind and name not in names.values():
            names[name] = name
    for name, kind in kinds.items():
        free = [place for place, wanted in facts.kinds.items() if wanted == kind and place not in names.values()]
        alone = sum(other == kind for other in kinds.values()) == 1
        if name not in names and alone and len(free) == 1:
            names[name] = free[0]
    lacking = [name for name in facts.required if name not in names.values()]
    if lacking and whole:
        has = ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) or "nothing"
        raise UsageError(
            f"'{model}' needs the input '{lacking[0]}' ({facts.kinds[lacking[0]]}), but '{data}' has {has}: "
            f"name it with --map {lacking[0]}=NAME."
        )
    return names
