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
    wide = {**adder.settings, "width": next(iter(adder.settings.values()))}
    both = adder.model_copy(update={"name": "both", "also": ["wider"]})
    wider = adder.model_copy(update={"name": "wider", "settings": wide})
    cards = {
        "both": both,
        "wider": wider,
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


@pytest.mark.usefixtures("_related")
def test_of_two_that_read_the_files_the_one_that_knows_the_settings_is_used(signal):
    path = signal("a.sig", [1])
    assert fitting("both", "predict", [path]) == "both"
    assert fitting("both", "predict", [path], settings=["width"]) == "wider"
    assert fitting("both.untrained", "predict", [path], settings=["width"]) == "wider.untrained"
    assert fitting("both", "predict", [path], settings=["depth"]) == "both"  # which says what it does not know
