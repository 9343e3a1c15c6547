"""Checks of data sets: splits, samples, what they say without reading, and how they find damage."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any, cast

from omlab.card_schema import DatasetCard
from omlab.errors import OmlabError, UsageError
from omlab.payloads import describe
from omlab_testkit.checks import check
from omlab_testkit.checks.odd import refusal
from omlab_testkit.checks.verbs import no_network
from omlab_testkit.compare import difference
from omlab_testkit.loading import quiet
from omlab_testkit.networks import as_sent
from omlab_testkit.outcome import CannotCheckError, PromiseError
from omlab_testkit.subjects import CardSubject

FEW = 3
"""Cases of a split that are read."""


@check(of="dataset")
def dataset_is_what_its_card_says(subject: CardSubject, folder: Path) -> None:
    """Splits, kinds of inputs and targets, and task are those of the card; `prepare` may be called again."""
    card = cast(DatasetCard, subject.card)
    data = prepared(subject, folder)
    if card.splits and sorted(data.splits()) != sorted(card.splits):
        raise PromiseError(f"'{card.name}' has the splits {list(data.splits())}, its card says {card.splits}.")
    if not data.splits():
        raise PromiseError(f"'{card.name}' has no split at all.")
    for split in data.splits():
        about, count = data.about(split), len(data.cases(split))
        said = {"inputs": dict(about.inputs), "target": about.target, "task": about.task}
        promised = {"inputs": card.inputs, "target": card.target, "task": card.task}
        for what, value in promised.items():
            if value and said[what] != value:
                raise PromiseError(
                    f"about('{split}').{what} of '{card.name}' is {said[what]!r}, its card says {value!r}."
                )
        if about.cases != count:
            raise PromiseError(f"about('{split}') of '{card.name}' says {about.cases} cases, but there are {count}.")
    for ask in ("about", "digest", "cases"):
        refusal(
            lambda ask=ask: getattr(data, ask)("omlab-testkit"),  # type: ignore[misc]
            what=f"{ask}() of '{card.name}' for an unknown split",
            wanted=UsageError,
        )


@check(of="dataset")
def samples_are_what_is_said_of_them(subject: CardSubject, folder: Path) -> None:
    """Cases come in a fixed order, each id once, and load as samples of the kinds, group and classes that are said."""
    data = prepared(subject, folder)
    for split in data.splits():
        cases, about = list(data.cases(split)), data.about(split)
        ids = [case.id for case in cases]
        if ids != [case.id for case in data.cases(split)]:
            raise PromiseError(f"The cases of split '{split}' of '{subject.name}' come in another order each time.")
        if len(set(ids)) != len(ids):
            twice = next(id for id in ids if ids.count(id) > 1)
            raise PromiseError(f"Split '{split}' of '{subject.name}' has two cases '{twice}'.")
        for case in cases[:FEW]:
            _check_sample(subject, about, case)


def _check_sample(subject: CardSubject, about: Any, case: Any) -> None:
    with quiet():
        sample, again = case.load(), case.load()
    what = f"Case '{case.id}' of '{subject.name}'"
    if sample.id != case.id or sample.group != case.group:
        raise PromiseError(f"{what} comes as '{sample.id}' of the group {sample.group}, not of {case.group}.")
    kinds = {name: describe(payload) for name, payload in sample.inputs.items()}
    optional = set(about.inputs) - set(kinds)  # a table may leave cells empty
    if {name: kind for name, kind in about.inputs.items() if name not in optional} != kinds or not kinds:
        raise PromiseError(f"{what} has the inputs {kinds}; about() says {dict(about.inputs)}.")
    target = describe(sample.target) if sample.target is not None else ""
    if target and target != about.target:
        raise PromiseError(f"{what} has a {target} as its target; about() says {about.target or 'none'}.")
    found = difference(again, sample, where="the sample")
    if found:
        raise PromiseError(f"{what} is another when it is read again: {found}.")


@check(of="dataset")
def cases_can_be_sent(subject: CardSubject, folder: Path) -> None:
    """A case is light and can be sent to another process, where it loads the same sample."""
    data = prepared(subject, folder)
    for split in data.splits():
        for case in list(data.cases(split))[:FEW]:
            what = f"Case '{case.id}' of '{subject.name}'"
            sent = as_sent(case, what=what)
            with quiet():
                found = difference(sent.load(), case.load(), where="the sample")
            if found:
                raise PromiseError(f"{what} loads another sample in another process: {found}.")


@check(of="dataset")
def about_and_digest_read_no_case(subject: CardSubject, folder: Path) -> None:
    """`about`, `digest`, `cases`, and the id, group and files of a case, open none of the cases' files."""
    data = prepared(subject, folder)
    files = _files(data)
    if not files:
        return
    fresh = _opened(subject, _root_of(subject, folder))
    with opened_files() as opened:
        for split in fresh.splits():
            fresh.about(split)
            fresh.digest(split)
            for case in fresh.cases(split):
                _ = (case.id, case.group, case.files)
    known = {path.resolve() for paths in files.values() for path in paths}
    for path in opened:
        if path.resolve() in known:
            raise PromiseError(
                f"'{subject.name}' opens {path.name} before a case is loaded: say what is known without."
            )


@check(of="dataset")
def groups_never_cross_splits(subject: CardSubject, folder: Path) -> None:
    """No group (patient), and no file, is in two splits that are trained and judged on."""
    data = prepared(subject, folder)
    seen: dict[Any, tuple[str, str]] = {}
    for split in data.splits():
        for case in data.cases(split):
            things = [("group", case.group)] if case.group is not None else []
            things += [("file", path.resolve()) for paths in case.files.values() for path in paths]
            for word, thing in things:
                other, _ = seen.setdefault(thing, (split, case.id))
                if other != split:
                    raise PromiseError(f"The {word} {thing} of '{subject.name}' is in '{other}' and in '{split}'.")


@check(of="dataset")
def damage_is_found(subject: CardSubject, folder: Path) -> None:
    """`digest` is the same each time and another for other files; `verify` names a file that is gone or cut off."""
    data, root = prepared(subject, folder), _root_of(subject, folder).resolve()
    place = root if root.is_dir() else root.parent
    files = _files(data)
    if not files:
        return
    split, path = next((split, paths[0].resolve()) for split, paths in files.items() if paths)
    if not path.is_relative_to(place):
        raise CannotCheckError(f"the files of '{subject.name}' lie elsewhere than its root")
    before = data.digest(split)
    if _opened(subject, root).digest(split) != before:
        raise PromiseError(f"The digest of '{subject.name}' is another one each time.")
    for what in ("cut off", "gone"):
        copytree(place, folder / what)
        victim, copied = folder / what / path.relative_to(place), folder / what / root.relative_to(place)
        if what == "gone":
            victim.unlink()
        else:
            victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
        said = _verified(subject, copied)
        if not any(victim.name in sentence for sentence in said):
            raise PromiseError(
                f"'{subject.name}' does not find that {victim.name} is {what}; verify() says {list(said)}."
            )
        if what == "cut off" and _opened(subject, copied).digest(split) == before:
            raise PromiseError(f"The digest of '{subject.name}' is the same after {victim.name} was changed.")


def _verified(subject: CardSubject, root: Path) -> Sequence[str]:
    try:
        with quiet():
            return list(_opened(subject, root).verify())
    except Exception as error:
        message = f"verify() of '{subject.name}' fails on damaged files: {type(error).__name__}: {error}"
        raise PromiseError(message) from error


def prepared(subject: CardSubject, folder: Path) -> Any:
    """The data set, made twice over (which must be safe) and found whole; made once for all checks."""
    card = cast(DatasetCard, subject.card)
    root = _root_of(subject, folder)
    data = _opened(subject, root)
    if root in subject.kit.prepared:
        return data
    with no_network() as attempts:
        try:
            data.prepare()
            data.prepare()
        except OmlabError as error:
            if attempts:
                raise CannotCheckError(
                    f"'{card.name}' is fetched from elsewhere; give dataset_root in tests/examples.py"
                ) from None
            raise PromiseError(f"'{card.name}' cannot be prepared: {error}") from None
        except Exception as error:
            message = f"'{card.name}' cannot be prepared, once or again: {type(error).__name__}: {error}"
            raise PromiseError(message) from error
    problems = list(data.verify())
    if problems:
        raise PromiseError(f"'{card.name}' finds itself damaged once prepared: {problems[0]}")
    subject.kit.prepared.add(root)
    return data


def _root_of(subject: CardSubject, folder: Path) -> Path:
    """The files that the package's tests give, else a folder for all checks, where the data set makes its own."""
    given = subject.own("dataset_root")
    if given is not None:
        return Path(given)
    if cast(DatasetCard, subject.card).own:
        raise CannotCheckError(f"'{subject.name}' reads a user's files; give dataset_root in tests/examples.py")
    return folder.parent / f"data-of-{subject.kit.project.name}-{subject.name}"


def _opened(subject: CardSubject, root: Path) -> Any:
    return subject.entry(subject.card, root=root, settings=subject.settings)


def _files(data: Any) -> dict[str, list[Path]]:
    """All files of the cases, by split."""
    found = {
        split: [path for case in data.cases(split) for paths in case.files.values() for path in paths]
        for split in data.splits()
    }
    return found if any(found.values()) else {}


_opened_now: list[Path] | None = None
_is_watching = False


@contextmanager
def opened_files() -> Iterator[list[Path]]:
    """The files that Python opens meanwhile, whoever does it."""
    global _opened_now, _is_watching
    if not _is_watching:
        sys.addaudithook(_note)  # cannot be taken away again: it is there for good, and idle
        _is_watching = True
    found: list[Path] = []
    _opened_now = found
    try:
        yield found
    finally:
        _opened_now = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened_now is not None and isinstance(arguments[0], str):
        _opened_now.append(Path(arguments[0]))
