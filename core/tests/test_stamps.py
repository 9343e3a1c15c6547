"""What a case is made of, as the run log compares it."""

from dataclasses import dataclass
from pathlib import Path

from omlab.cases import PathCase, Source
from omlab.stamps import Value, parts_of


@dataclass(frozen=True)
class OwnCase:
    id: str = "a"
    group: str | None = None
    target: str = "a class"
    sources: tuple[str, ...] = ("somewhere",)

    @property
    def files(self):
        return {"scan": [Path("a.nii")]}


def test_a_case_may_call_its_own_things_target_and_sources() -> None:
    assert parts_of(OwnCase()) == {"scan": [Path("a.nii")]}


def test_what_a_list_says_itself_is_part_of_a_case() -> None:
    text, scan = Source(kind="text", value="hello"), Source(kind="volume", paths=(Path("a.nii"),))
    case = PathCase(id="a", sources={"text": text, "scan": scan})
    parts = parts_of(case)
    assert parts["scan"] == [Path("a.nii")]
    assert isinstance(parts["text"][0], Value)
