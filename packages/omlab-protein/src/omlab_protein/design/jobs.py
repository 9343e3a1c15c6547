"""`omlab design` as a function: from files and a model to a plate, in a run of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from omlab.arguments import name_of, path_of
from omlab.devices import sort_of
from omlab.digests import digest_of
from omlab.errors import InputError, OutputError, UsageError
from omlab.files import writing
from omlab.formats import check_readable, read
from omlab.jobs.one_file import OneFile, is_one_file
from omlab.jobs.outcome import Outcome
from omlab.jobs.outputs import file_name
from omlab.jobs.run_cases import FileCase, run_cases
from omlab.models import ModelRef, Needs, find_card, find_model, untrained_notes
from omlab.records import Role
from omlab.session import Session, verb_of
from omlab.settings import complete, decisive
from omlab_protein.alphabet import RESIDUES
from omlab_protein.design.heads import Floats, Mutant
from omlab_protein.design.page import write_plate_page
from omlab_protein.design.plate import TABLE, Plate, write_sequences, write_table
from omlab_protein.design.rounds import propose
from omlab_protein.design.space import Space
from omlab_protein.mutants import MutantTable, read_measured
from omlab_protein.sequence import Sequence as Protein
from omlab_protein.substitutions import check_wild_type, parse, written
from omlab_protein.variants import Variants, VariantScores

VERB, KIND = "score", "design"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be proposed, and how many.

    Attributes:
        sites: Substitutions that a mutant has at most.
        batch: Mutants of a plate.
        keep: Positions, from 1, that do not change.
        avoid: Residues that are not put in.
        explore: The share of the plate that single heads of the ensemble pick, not their mean.
        seed: Of heads and search.
    """

    sites: int = 3
    batch: int = 96
    keep: Collection[int] = ()
    avoid: str = ""
    explore: float = 0.5
    seed: int = 0

    def check(self, letters: str) -> None:
        """Raise `UsageError` where they do not fit a wild type."""
        for name in ("sites", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"The number of {name} is {getattr(self, name)}, but must be at least 1.")
        if not 0 <= self.explore <= 1:
            raise UsageError(f"'explore' is {self.explore:g}, but must be a share, from 0 to 1.")
        wrong = [position for position in self.keep if not 1 <= position <= len(letters)]
        if wrong:
            raise UsageError(f"Position {wrong[0]} cannot be kept: the sequence has {len(letters)} residues.")
        unknown = sorted(set(self.avoid) - set(RESIDUES))
        if unknown:
            raise UsageError(f"'{unknown[0]}' cannot be avoided: it is none of the residues {RESIDUES}.")


def design_plate(
    model: str | Path,
    wild: str | Path,
    *,
    measured: Sequence[str | Path] = (),
    library: str | Path | None = None,
    limits: Limits | None = None,
    output: str | Path | None = None,
    weights: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    needs: Needs | None = None,
    device: str = "auto",
    offline: bool | None = None,
) -> Outcome:
    """Propose the mutants to measure next: `plate.csv` with the sequences and a page beside.

    Args:
        model: That scores variants: a name, or the folder of an adapted model.
        wild: FASTA of the wild type.
        measured: Tables of what was measured in earlier rounds: `mutant`, `score`; none: the first round.
        library: A table of the only mutants that can be made; None: any within `limits`.
        limits: What may be proposed, and how many.
        output: A `.csv`, or a folder; by default one in `omlab-runs/`.
        weights: A local checkpoint instead of published weights.
        settings: Values for the model's settings.
        options: Values for the options of its verb `score`.
        needs: Other models for those that the card needs.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        offline: True: never fetch weights.

    Raises:
        OmlabError: A file or a limit is wrong, or nothing can be written.
    """
    name, wild, limits = name_of(model, "The model"), path_of(wild, "The wild type"), limits or Limits()
    tables = [path_of(table, "A measured table") for table in measured]
    protein = read(wild, kind=Protein.kind)
    assert isinstance(protein, Protein)
    limits.check(protein.letters)
    known = _measured(tables, protein.letters)
    space = _space(protein.letters, limits, library=library)
    left = space.size - sum(map(space.allows, known)) if library is None else len(set(space.everything()) - set(known))
    if limits.batch > left:
        raise UsageError(
            f"A plate of {limits.batch} mutants is asked for, but only {left} may be made that are not measured: "
            "lower --batch, or allow more with --sites, --keep, --avoid or another library."
        )
    facts = verb_of(find_card(name), VERB, name=name)
    if facts.gives != VariantScores.kind:
        raise UsageError(f"'{name}' does not score the variants of a protein: its verb '{VERB}' gives {facts.gives}.")
    chosen = complete(facts.options, options or {}, of=f"'{VERB}' of '{name}'")
    ref = find_model(name, weights=weights, device=device, settings=settings, needs=needs, offline=offline)
    request = {
        "command": KIND,
        "model": ref.identity(),
        "device": sort_of(ref.device),
        "options": decisive(facts.options, chosen),
        "sites": limits.sites,
        "batch": limits.batch,
        "keep": sorted(limits.keep),
        "avoid": limits.avoid,
        "explore": limits.explore,
        "seed": limits.seed,
        "format": "mutants",
    }
    files = {"sequence": [wild], "measured": tables, "mutants": [Path(library)] if library is not None else []}
    case = FileCase(id=protein.name or wild.stem, files={name: paths for name, paths in files.items() if paths})
    work = _Work(ref=ref, protein=protein, space=space, known=known, limits=limits, options=chosen)
    return _run(work, case, request=request, output=output)


def _run(work: _Work, case: FileCase, *, request: Mapping[str, Any], output: str | Path | None) -> Outcome:
    notes = untrained_notes(work.ref)

    arguments = {name: [str(path) for path in paths] for name, paths in case.files.items()}
    do = partial(_in_run, work, case, request=request, arguments=arguments)
    if output is None or not is_one_file(str(output), VariantScores.kind):
        files = [str(path.absolute()) for paths in case.files.values() for path in paths]
        place = Path(output or Path("omlab-runs") / f"{KIND}-{work.ref.name}-{digest_of([request, files])[:8]}")
        return replace(do(place), notes=notes)
    place = path_of(output, "The output")
    if place.suffix.lower() != TABLE:
        raise OutputError(f"A plate is a table: it is written to a file that ends in {TABLE}, not to {place.name}.")
    file = OneFile(path=place, kind=KIND, request=request)
    return replace(file.there([case]) or file.make(do), notes=notes)


def _in_run(
    work: _Work, case: FileCase, folder: Path, *, request: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Outcome:
    return run_cases([case], work.do, output=folder, request=request, kind=KIND, arguments=arguments, role=work.role)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is done in the run."""

    ref: ModelRef
    protein: Protein
    space: Space
    known: Mapping[Mutant, float]
    limits: Limits
    options: Mapping[str, Any]

    def do(self, case: FileCase, folder: Path) -> Mapping[str, Any]:
        """Propose the plate, and write it into the case's folder."""
        found = propose(
            self.space,
            partial(_scores, self.ref.session(), self.protein, options=self.options),
            self.known,
            count=self.limits.batch,
            explore=self.limits.explore,
            seed=self.limits.seed,
        )
        plate = Plate(protein=self.protein, proposals=found, measured=self.known, model=self.ref.name)
        name = file_name(case.id)
        with writing("The plate", folder):
            write_table(plate, folder / f"{name}{TABLE}")
            write_sequences(plate, folder / f"{name}.fasta")
        write_plate_page(plate, folder / f"{name}.html")
        return {"in_words": plate.in_words()}

    def role(self, name: str) -> Role:
        """What a file of the plate is."""
        if name.endswith(TABLE):
            return Role("main", "mutants", VariantScores.kind)
        return Role("beside", Path(name).suffix[1:], VariantScores.kind)


def _scores(session: Session, protein: Protein, mutants: Sequence[Mutant], *, options: Mapping[str, Any]) -> Floats:
    found = session.score(sequence=protein, mutants=Variants(mutants=[*map(written, mutants)]), **options)
    assert isinstance(found, VariantScores)
    return found.scores


def _measured(tables: Iterable[Path], letters: str) -> dict[Mutant, float]:
    """What was measured of each mutant; of one that was measured several times the mean."""
    found: defaultdict[Mutant, list[float]] = defaultdict(list)
    for table in tables:
        check_readable(table)
        for mutant, value in read_measured(table):
            found[_fitting(mutant, letters, table)].append(value)
    return {mutant: fmean(values) for mutant, values in found.items()}


def _space(letters: str, limits: Limits, *, library: str | Path | None) -> Space:
    known = None
    if library is not None:
        path = path_of(library, "The library")
        check_readable(path)
        table = MutantTable().read(path, kind=Variants.kind)
        known = [_fitting(mutant, letters, path) for mutant in table.mutants]
    return Space(letters=letters, sites=limits.sites, keep=frozenset(limits.keep), avoid=limits.avoid, library=known)


def _fitting(mutant: str, letters: str, path: Path) -> Mutant:
    """The substitutions, ordered. Raises `InputError` that names the file where they are not of the protein."""
    try:
        parsed = parse(mutant)
        check_wild_type(parsed, letters, mutant=mutant)
    except InputError as error:
        raise InputError(f"{path} does not fit the wild type: {error}") from None
    return tuple(sorted(parsed, key=lambda one: one.position))
