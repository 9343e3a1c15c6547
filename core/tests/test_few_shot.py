"""Episodes: the same for a seed, nested, fair to groups, and the test split untouched; classes read where not said."""

from collections import Counter
from dataclasses import dataclass

import pytest

from omlab import About, Sample, episodes
from omlab.card_schema import Verb
from omlab.errors import UsageError
from omlab.jobs.mapped import MappedData
from omlab.surveys import surveyed


@dataclass(frozen=True)
class Seen:
    """A target of a few classes."""

    names: tuple[str, ...]
    kind = "seen"

    def present(self):
        return {ord(name): name for name in self.names}


@dataclass(frozen=True)
class SaidCase:
    id: str
    label: str
    group: str | None = None

    def load(self):
        raise AssertionError("its class is known without reading it")


@dataclass(frozen=True)
class ReadCase:
    id: str
    names: tuple[str, ...]
    group: str | None = None

    def load(self):
        return Sample(id=self.id, inputs={}, target=Seen(self.names), group=self.group)


class Cases:
    def __init__(self, train, test=()):
        self.parts = {"train": list(train), "test": list(test)}

    def splits(self):
        return list(self.parts)

    def about(self, split):
        return About(inputs={}, target="seen", cases=len(self.parts[split]))

    def digest(self, split):
        return split

    def cases(self, split):
        return self.parts[split]


def ids(episode):
    return [case.id for case in episode.cases("train")]


def said(count, classes="ab", groups=None):
    return [
        SaidCase(f"c{n}", classes[n % len(classes)], f"p{n % groups}" if groups is not None else None)
        for n in range(count)
    ]


def test_each_class_has_its_shots_and_more_shots_are_more_of_the_same():
    data = Cases(said(20))
    found = episodes(data, [1, 3, 5], range(4))
    assert [(e.shots, e.seed) for e in found] == [(k, s) for k in (1, 3, 5) for s in range(4)]
    for episode in found:
        assert Counter(case.label for case in episode.cases("train")) == {"a": episode.shots, "b": episode.shots}
    by = {(e.shots, e.seed): set(ids(e)) for e in found}
    assert all(by[1, s] < by[3, s] < by[5, s] for s in range(4))
    assert len({frozenset(by[3, s]) for s in range(4)}) > 1


def test_lists_of_the_data_set_itself_come_first():
    class Listed(Cases):
        prepared = False

        def prepare(self):
            self.prepared = True

        def episode(self, shots, seed):
            return Listed(said(2)) if shots == 1 and seed == 0 else None

    listed, drawn, more = episodes(Listed(said(20)), [1, 2], [0, 1])[:3]
    assert (ids(listed), listed.prepared) == (["c0", "c1"], True)
    assert (drawn.seed, len(ids(drawn)), len(ids(more))) == (1, 2, 4)
    facts = Verb.model_validate({"takes": {"x": "seen"}, "gives": "seen"})
    seen = MappedData(Listed(said(20)), facts, model="m", name="d", mapped={})
    assert isinstance(seen.episode(1, 0), MappedData)
    assert seen.episode(2, 0) is None


def test_an_episode_depends_on_seed_and_ids_alone():
    data = Cases(said(20))
    shuffled = Cases(reversed(said(20)))
    (one,), (two,) = episodes(data, 3, 7), episodes(shuffled, 3, 7)
    assert sorted(ids(one)) == sorted(ids(two))
    assert ids(one) == [case.id for case in data.cases("train") if case.id in ids(one)]
    assert one.digest("train") != episodes(data, 3, 8)[0].digest("train")


def test_a_group_counts_once_and_groups_of_other_splits_do_not_count():
    data = Cases(said(20, groups=10), test=[SaidCase("t", "a", "p0")])
    (episode,) = episodes(data, 4, 0)
    groups = [case.group for case in episode.cases("train")]
    assert len(groups) == len(set(groups)) == 8
    assert "p0" not in groups
    assert episode.about("train").groups == 8
    with pytest.raises(UsageError, match=r"'a' has cases of 4 groups \(patients\), but 5 shots"):
        episodes(data, 5, 0)


def test_other_splits_are_the_data_sets_own():
    test = [SaidCase("t1", "a"), SaidCase("t2", "b")]
    (episode,) = episodes(Cases(said(6), test=test), 1, 0)
    assert episode.cases("test") == test
    assert episode.digest("test") == "test"
    assert episode.about("train").cases == 2


def test_classes_are_read_from_targets_where_no_case_says_them():
    data = Cases([ReadCase("1", ("x",)), ReadCase("2", ("x", "y")), ReadCase("3", ("x", "z")), ReadCase("4", ("x",))])
    (episode,) = episodes(data, 1, 3)
    assert ids(episode) == ["2", "3"]  # the rare classes first; what they bring of x is enough
    assert episode.about("train").classes == {120: "x", 121: "y", 122: "z"}


@pytest.mark.parametrize("shots", [0, []])
def test_no_shots_are_a_mistake(shots):
    with pytest.raises(UsageError, match="at least one shot"):
        episodes(Cases(said(4)), shots, 0)


def test_a_split_without_classes_is_a_mistake():
    with pytest.raises(UsageError, match="No case of the split has a class"):
        episodes(Cases([]), 1, 0)


KIND = """
[[payload]]
name = "seen"
summary = "What is seen."
entry = "seen_plugin:Seen"
licence = "CC0-1.0"
"""
CODE = """
from omlab import hookimpl, read_cards
OMLAB_HOOK_API = 2
class Seen:
    kind = "seen"
    def present(self): ...
@hookimpl
def omlab_payloads():
    return read_cards("seen_cards", "payload")
"""


def test_training_learns_the_classes_of_targets_that_nobody_names(install, tmp_path):
    files = {"seen_plugin.py": CODE, "seen_cards/__init__.py": "", "seen_cards/cards.toml": KIND}
    install("seen", entry_points={"seen": "seen_plugin"}, files=files)
    data = Cases([ReadCase("1", ("x",)), ReadCase("2", ("y", "x"))])
    assert surveyed(data, "train", folder=tmp_path).classes == {120: "x", 121: "y"}
    data.cases = None  # what was read is kept
    assert surveyed(data, "train", folder=tmp_path).classes == {120: "x", 121: "y"}
