"""Doing cells: adapt an entry to an episode, answer the cases of the test split, measure each answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock

from omlab import adapt, episodes, features, load_model
from omlab.abilities import AnswersEmbeddings, FitsMany
from omlab.card_schema import EvaluatorCard
from omlab.datasets import DataRef
from omlab.errors import OmlabError, PluginError
from omlab.jobs.evaluate import choose_verb
from omlab.jobs.mapped import MappedData, training_verb
from omlab.jobs.sources import cases_of_data
from omlab.models import ModelBase
from omlab.payloads import Payload
from omlab.roles import Adapted, Case, Dataset, Evaluator, Sample
from omlab.session import Session
from omlab_benchmark.entries import ALL, Cell, Entry
from omlab_benchmark.results import write_rows
from omlab_payloads.embedding import Embedding
from omlab_payloads.embeddings import open_embeddings

EMBED = "embed"
Answers = Iterable[tuple[Sample, Payload | OmlabError]]
Row = dict[str, Any]


@dataclass(kw_only=True)
class Bench:
    """The data and the judge of a board, and how its cells are done.

    Attributes:
        source: The data set.
        data_name: As the user names it.
        data_settings: What was given for it.
        split: What is answered and measured.
        judge: The evaluator.
        judge_card: Its card.
        mapped: The models' names of inputs to the data set's, where they cannot be told.
        device: Where models work.
        offline: True: never fetch weights.
        folder: The board's folder, once it has one.
        scratch: A place for what must not be paid twice, once there is one.
    """

    source: DataRef
    data_name: str
    data_settings: Mapping[str, Any]
    split: str
    judge: Evaluator
    judge_card: EvaluatorCard
    mapped: Mapping[str, str]
    device: str
    offline: bool | None
    folder: Path = Path()
    scratch: Path = Path()
    _base: tuple[str, ModelBase] | None = field(default=None, init=False)

    def at_once(self, entry: Entry, cells: Sequence[Cell], folder: Path) -> list[Row]:
        """All cells of an entry whose adapter does them together, on features that every entry of the model shares."""
        base, data = self._base_of(entry), self._data_for(entry)
        store = self.folder / "features"
        store.mkdir(exist_ok=True)
        adapter = entry.adapter
        assert isinstance(adapter, FitsMany)
        works = [self.scratch / "cells" / Path(cell.file).parent.name / Path(cell.file).name for cell in cells]
        with FileLock(store / f"{entry.ref.card.name}.lock"):  # other parts of the run wait for the same features
            made = adapter.fit_many(
                base,
                [self._episode(data, cell) for cell in cells],
                recipe=None,
                settings={},
                seeds=[cell.seed for cell in cells],
                folders=works,
                features=store,
            )
            tests = cases_of_data(
                self.source.dataset,
                self.split,
                entry.ref.card.does[EMBED],
                model=entry.model,
                name=self.data_name,
                mapped=self.mapped,
            )
            embeddings = _stored(features(base.session(), EMBED, tests, folder=store))
        rows = []
        for cell, adapted in zip(cells, made, strict=True):
            if isinstance(adapted, OmlabError):
                rows.append(_row(cell, reason=str(adapted)))
                continue
            answers = self._answered_by(adapter, base, adapted, embeddings)
            rows.append(self._measured(cell, zip(self._targets, answers, strict=True), folder))
        rmtree(self.scratch / "cells", ignore_errors=True)
        return rows

    def one(self, cell: Cell, folder: Path) -> list[Row]:
        """A cell whose adapter trains: a run of `omlab adapt` that goes on where it was interrupted."""
        entry = cell.entry
        place = self.scratch / "adapted" / entry.slug / f"{cell.shots}-{cell.seed}"
        settings = {
            **{f"adapter.{name}": value for name, value in entry.adapter_settings.items()},
            **{f"recipe.{name}": value for name, value in entry.recipe_settings.items()},
            **{f"model.{name}": value for name, value in entry.ref.settings.items()},
            **{f"data.{name}": value for name, value in self.data_settings.items()},
            "episode.shots": cell.shots,
        }
        adapt(
            entry.model,
            self.data_name,
            adapter=entry.adapter_card.name,
            recipe=entry.recipe,
            output=place,
            device=self.device,
            seed=cell.seed,
            settings=settings,
            mapped=self.mapped,
            offline=self.offline,
        )
        session = load_model(place, device=self.device, offline=self.offline)
        verb = choose_verb(session.card, self.judge_card, None, name=session.name)
        cases = cases_of_data(
            self.source.dataset,
            self.split,
            session.verb(verb),
            model=session.name,
            name=self.data_name,
            mapped=self.mapped,
        )
        row = self._measured(cell, _answered(session, verb, cases), folder)
        rmtree(place)
        return [row]

    def _base_of(self, entry: Entry) -> ModelBase:
        """The entry's model, loaded once for entries that follow each other."""
        digest = str(entry.ref.identity())
        if self._base is None or self._base[0] != digest:
            self._base = (digest, ModelBase(entry.ref))
        return self._base[1]

    def _data_for(self, entry: Entry) -> Dataset:
        facts = training_verb(entry.ref.card, None, entry.adapter_card.requires)
        if facts is None:
            return self.source.dataset
        return MappedData(self.source.dataset, facts, model=entry.model, name=self.data_name, mapped=self.mapped)

    def _episode(self, data: Dataset, cell: Cell) -> Dataset:
        if cell.shots == ALL:
            return data
        return episodes(data, cell.shots, [cell.seed])[0]

    @cached_property
    def _targets(self) -> list[Sample]:
        """The cases of the test split with their targets alone, read once for all cells."""
        with ThreadPoolExecutor(thread_name_prefix="omlab-read") as pool:
            loaded = pool.map(lambda case: replace(case.load(), inputs={}), self.source.dataset.cases(self.split))
            return list(loaded)

    def _answered_by(
        self, adapter: Any, base: ModelBase, adapted: Adapted, embeddings: Mapping[str, Embedding]
    ) -> list[Payload | OmlabError]:
        model = adapter.restore(base, config=adapted.config, tensors=adapted.tensors)
        if not isinstance(model, AnswersEmbeddings):
            raise PluginError("An adapter that does many episodes at once must make models that answer embeddings.")
        return list(model.predict_embedded([embeddings[sample.id] for sample in self._targets]))

    def _measured(self, cell: Cell, answers: Answers, folder: Path) -> Row:
        """Measure answers as they come and write what was found; a case without an answer is counted."""
        rows, failed, why = {}, 0, ""
        with TemporaryDirectory() as pictures:  # of single cases: a board shows none
            for sample, answer in answers:
                try:
                    if isinstance(answer, OmlabError):
                        raise answer
                    rows[sample.id] = self.judge.measure(sample, answer, Path(pictures))
                except OmlabError as error:
                    failed, why = failed + 1, why or f"{sample.id}: {error}"
        if not rows:
            return _row(cell, reason=why or "there is no case")
        write_rows(rows, folder / cell.file)
        return _row(cell) | {"file": cell.file, "cases": len(rows), "failed": failed, "why": why}


def _row(cell: Cell, *, reason: str = "") -> Row:
    entry = cell.entry
    names = {"model": entry.model, "adapter": entry.adapter_card.name, "recipe": entry.recipe or ""}
    return {**names, "shots": cell.shots, "seed": cell.seed, "reason": reason}


def _stored(path: Path) -> dict[str, Embedding]:
    ids, matrix = open_embeddings(path)
    return {id: Embedding(vector=matrix[row]) for row, id in enumerate(ids)}


def _answered(session: Session, verb: str, cases: Sequence[Case]) -> Iterator[tuple[Sample, Payload | OmlabError]]:
    """Answers in the order of the cases; the next batch is read while the model works."""
    facts = session.verb(verb)

    def read(case: Case) -> tuple[Sample, Any]:
        sample = case.load()
        inputs = {name: sample.inputs[name] for name in facts.takes if name in sample.inputs}
        try:
            return replace(sample, inputs={}), session.prepare(verb, inputs)
        except OmlabError as error:
            return replace(sample, inputs={}), error

    with ThreadPoolExecutor(thread_name_prefix="omlab-read") as pool:
        ahead: list[Any] = []
        size = max(1, facts.at_once)
        for start in range(0, len(cases) + size, size):  # a batch further than there are, for the last one's answers
            coming = [pool.submit(read, case) for case in cases[start : start + size]]
            ready = [future.result() for future in ahead]
            ahead = coming
            prepared = [part for _, part in ready if not isinstance(part, OmlabError)]
            results = iter(session.apply(verb, prepared) if prepared else ())
            for sample, part in ready:
                yield sample, part if isinstance(part, OmlabError) else next(results)
