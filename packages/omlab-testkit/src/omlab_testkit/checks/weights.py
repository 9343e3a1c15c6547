"""Checks of the key tables of published weights, with checkpoints made up from the untrained network.

Which network each file goes into is seen from what a model loads (`Weights.load`); one that reads state dicts by itself
shows its network as `module`, or the package writes `state_dicts(card, tag)` into its tests/examples.py. A made-up file
has the nesting (`wrapper`) and key `prefix` that the card says of the published one, lacks the entries that the card
says are missing and has one for each that is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omlab.card_schema import WeightsFile
from omlab.errors import OmlabError, WeightsError
from omlab.session import Session
from omlab.weights import Weights
from omlab.weights.handed import Rules
from omlab_testkit.checks import check
from omlab_testkit.compare import difference
from omlab_testkit.networks import other_weights
from omlab_testkit.outcome import CannotCheckError, PromiseError
from omlab_testkit.subjects import WeightsSubject

if TYPE_CHECKING:
    from torch import Tensor, nn

State = dict[str, "Tensor"]


@dataclass(frozen=True, kw_only=True)
class Watched(Weights):
    """Weights that remember which module each file was loaded into."""

    modules: dict[str, nn.Module] = field(default_factory=dict)

    def load(self, module: nn.Module, name: str | None = None, *, state: Mapping[str, Tensor] | None = None) -> None:
        """As `Weights.load`."""
        super().load(module, name, state=state)
        self.modules[name or next(iter(self.files))] = module


@dataclass(frozen=True, kw_only=True)
class Asked(Weights):
    """Weights without files: they note which keys are wanted of each, and load nothing."""

    wanted: dict[str, State] = field(default_factory=dict)

    def load(self, module: nn.Module, name: str | None = None, *, state: Mapping[str, Tensor] | None = None) -> None:
        """Note the keys of `module`."""
        self.wanted[name or next(iter(self.files))] = dict(module.state_dict())

    def state_dict(self, name: str | None = None) -> dict[str, Tensor]:
        """There is none: the model reads state dicts by itself."""
        raise _ReadsByItselfError


class _ReadsByItselfError(Exception):
    pass


@check(of="weights")
def checkpoint_loads_by_its_key_table(subject: WeightsSubject, folder: Path) -> None:
    """Checkpoints with the wrapper, prefix, missing and dropped keys of the card arrive whole in the network."""
    files = _files(subject)
    if not files:
        return  # a repository: see `snapshot_loads`
    states = {name: other_weights(state) for name, state in _states(subject, folder).items()}
    kept = {}
    for name, file in files.items():
        _check_patterns(subject, file, states[name])
        kept[name] = {key: one for key, one in states[name].items() if not _matches(key, file.missing)}
        write_checkpoint(kept[name], folder, file=file)
    weights = Watched(**_made(subject, folder))
    session = _loaded(subject, weights)
    for name, state in kept.items():
        module = weights.modules.get(name) or (getattr(session.model, "module", None) if len(files) == 1 else None)
        if module is None or (name not in weights.modules and not set(state) <= set(module.state_dict())):
            continue  # converted by the model itself: that it loads is what can be seen
        _check_used(subject, session, module, name=name)
        arrived = module.state_dict()
        for key, tensor in state.items():
            found = difference(arrived.get(key), tensor, where=f"'{key}'")
            if found:
                raise PromiseError(f"'{subject.id}': after loading {name} {found}; it has not been loaded.")
    _check_it_matters(subject, session, what="a checkpoint")


@check(of="weights")
def wrong_checkpoint_is_refused(subject: WeightsSubject, folder: Path) -> None:
    """A checkpoint with one key too few, one too many or one of another shape is a `WeightsError` that names it."""
    import torch

    files = _files(subject)
    states = _states(subject, folder) if files else {}
    for name, file in files.items():
        state = {key: one for key, one in states[name].items() if not _matches(key, file.missing)}
        victim = _victim(state)
        wrong = {
            "without": ({key: tensor for key, tensor in state.items() if key != victim}, victim),
            "with the further key": ({**state, "omlab_testkit.extra": torch.zeros(2)}, "omlab_testkit.extra"),
            "with another shape of": ({**state, victim: torch.zeros(*state[victim].shape, 3)}, victim),
        }
        for number, (what, (tensors, key)) in enumerate(wrong.items()):
            place = folder / f"{number}-{name}"
            place.mkdir()
            for other, facts in files.items():
                own = {k: one for k, one in states[other].items() if not _matches(k, facts.missing)}
                write_checkpoint(tensors if other == name else own, place, file=facts)
            _check_refused(subject, Weights(**_made(subject, place)), what=what, key=key)


def _check_refused(subject: WeightsSubject, weights: Weights, *, what: str, key: str) -> None:
    try:
        subject.load(weights=weights)
    except WeightsError as error:
        if key not in str(error):
            raise PromiseError(f"A checkpoint {what} '{key}' is refused without naming it: {error}") from None
    else:
        raise PromiseError(f"'{subject.id}' loads a checkpoint {what} '{key}' as if nothing were wrong.")


@check(of="weights")
def snapshot_loads(subject: WeightsSubject, folder: Path) -> None:
    """A repository (made up by `snapshot` of tests/examples.py) loads from its folder, and its weights are used."""
    if subject.model_card.weights[subject.tag].repository is None:
        return
    if not subject.own("snapshot", subject.tag, folder):
        raise CannotCheckError(
            f"the weights of '{subject.id}' are a repository; write snapshot(card, tag, folder) in tests/examples.py"
        )
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    _check_it_matters(
        subject, _loaded(subject, Weights(tag=subject.tag, files=files, folder=folder)), what="a snapshot"
    )


def _files(subject: WeightsSubject) -> dict[str, WeightsFile]:
    """The files of the tag by name; none of a repository, which `snapshot_loads` looks at."""
    return {file.name: file for file in subject.model_card.weights[subject.tag].files}


def _made(subject: WeightsSubject, folder: Path) -> dict[str, Any]:
    """What `Weights` of the tag are made of, with their files in `folder`."""
    files = _files(subject)
    return {
        "tag": subject.tag,
        "files": {name: folder / name for name in files},
        "rules": {name: Rules.of(file) for name, file in files.items()},
    }


def _states(subject: WeightsSubject, folder: Path) -> Mapping[str, State]:
    """A state dict for each file, of the keys and shapes that the model wants. Raises `CannotCheckError`."""
    files = _files(subject)
    own = subject.own("state_dicts", subject.tag)
    if own is not None:
        return {name: dict(state) for name, state in own.items()}
    asked = Asked(**_made(subject, folder), digests=dict.fromkeys(files, "none"))  # there is nothing to be hashed
    with suppress(_ReadsByItselfError):
        subject.load(weights=asked)
    if set(asked.wanted) >= set(files):
        return asked.wanted
    module = getattr(subject.model, "module", None)
    if len(files) == 1 and hasattr(module, "state_dict"):
        return {next(iter(files)): dict(module.state_dict())}  # type: ignore[union-attr]
    unknown = sorted(set(files) - set(asked.wanted))
    raise CannotCheckError(
        f"the kit cannot tell what '{subject.id}' wants of {unknown[0]}; write state_dicts(card, tag) in "
        "tests/examples.py"
    )


def _loaded(subject: WeightsSubject, weights: Weights) -> Session:
    try:
        return subject.load(weights=weights)
    except OmlabError as error:
        raise PromiseError(f"Weights made as the card of '{subject.id}' says do not load: {error}") from None


def _check_it_matters(subject: WeightsSubject, session: Session, *, what: str) -> None:
    """A model with other weights gives something else by one of its verbs at least, or has another network."""
    modules = [getattr(one.model, "module", None) for one in (session, subject.session)]
    if all(hasattr(module, "state_dict") for module in modules):
        first, second = (dict(module.state_dict()) for module in modules)  # type: ignore[union-attr]
        if not difference(first, second):
            raise PromiseError(f"'{subject.id}' has the same network with {what} as without: it has not been loaded.")
        return
    for verb in subject.model_card.does:
        of_verb = subject.of_verb(verb)
        given = of_verb.results(of_verb.cases[:1], session=session, what=what)[0]
        if difference(given, of_verb.result(0)):
            return
    if subject.model_card.does:
        raise PromiseError(f"'{subject.id}' gives the same with {what} as untrained: it has not been loaded.")


def _check_used(subject: WeightsSubject, session: Session, module: nn.Module, *, name: str) -> None:
    """A file is loaded into a network that the model keeps, as far as it shows any."""
    shown = [value for value in vars(session.model).values() if hasattr(value, "named_parameters")]
    known = {id(parameter) for one in shown for parameter in one.parameters()}
    if known and not known & {id(parameter) for parameter in module.parameters()}:
        raise PromiseError(f"'{subject.id}' loads {name} into a network that the model does not use.")


def _check_patterns(subject: WeightsSubject, file: WeightsFile, state: Mapping[str, Tensor]) -> None:
    for pattern in file.missing:
        if not any(fnmatchcase(key, pattern) for key in state):
            raise PromiseError(f"'{subject.id}': 'missing' has '{pattern}', which no key of the network matches.")
    for pattern in file.dropped:
        known = [key for key in state if fnmatchcase(key, pattern)]
        if known:
            raise PromiseError(f"'{subject.id}': 'dropped' has '{pattern}', but the network wants '{known[0]}'.")


def _victim(state: Mapping[str, Tensor]) -> str:
    """A floating-point key from the middle, if possible a bias: nothing that tells the architecture."""
    names = [key for key, tensor in state.items() if tensor.is_floating_point() and tensor.ndim]
    biases = [key for key in names if key.endswith("bias")]
    chosen = biases or names
    if not chosen:
        raise PromiseError("The network has no weights at all, but its card lists weights files.")
    return chosen[len(chosen) // 2]


def write_checkpoint(state: Mapping[str, Tensor], folder: Path, *, file: WeightsFile) -> Path:
    """Write `state` into `folder` in the form that the card says of `file`."""
    import torch

    tensors = {file.prefix + key: tensor.contiguous().clone() for key, tensor in state.items()}
    for number, pattern in enumerate(file.dropped):
        tensors[file.prefix + pattern.replace("*", f"dropped{number}")] = torch.zeros(1)
    path = folder / file.name
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(tensors, path)
        return path
    content: Any = tensors
    for part in reversed(file.wrapper.split(".") if file.wrapper else []):
        content = {part: content}
    torch.save(content, path)
    return path


def _matches(key: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)
