"""Cards of one network for several kinds of inputs: the one that reads the files is used."""

import pytest

from omlab.jobs import fitting as module
from omlab.jobs.fitting import fitting
from omlab.models import find_card

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def _related(here, monkeypatch):
    """A card whose verb takes notes names the adder, which takes signals."""
    adder = find_card("adder")
    facts = adder.does["predict"].model_copy(update={"takes": {"note": "note"}})
    cards = {
        "noter": adder.model_copy(update={"name": "noter", "also": ["adder"], "does": {"predict": facts}}),
        "adder": adder,
    }
    monkeypatch.setattr(module, "find_card", lambda name: cards[str(name).partition(".")[0]])


@pytest.mark.usefixtures("_related")
def test_the_card_that_reads_the_files_is_used(signal, tmp_path):
    path = signal("a.sig", [1])
    assert fitting("noter", "predict", [path]) == "adder"
    assert fitting("noter.untrained", "predict", [path]) == "adder.untrained"
    assert fitting("noter", "predict", []) == "noter"
    assert fitting("noter", "embed", [path]) == "noter"  # which says what is wrong
    assert fitting("noter", "predict", [tmp_path / "none.sig"]) == "noter"
    assert fitting("noter", "predict", [path], named=["signal"]) == "noter"
    assert fitting("adder", "predict", [path]) == "adder"
