"""The feature store: made once for a model and its cases, read by whoever asks."""

import sys

import pytest

import omlab
from omlab.errors import InputError, OmlabError, UsageError
from omlab.jobs.run_cases import FileCase
from omlab.roles import Sample

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def ramps():
    data = omlab.load_dataset("ramps")
    data.prepare()
    return data


def cases(session, data, split="train"):
    return omlab.cases_for(session, "embed", data, split)


def test_features_are_made_once(here, ramps, monkeypatch):
    session = omlab.load_model("embedder")
    first = omlab.features(session, "embed", cases(session, ramps), folder="store")
    assert first.read_text() == "a,1.5,4.0\nb,2.5,4.0\n"
    made = first.stat().st_mtime_ns

    def again(self, batch, /):
        raise AssertionError("it was asked again")

    monkeypatch.setattr(sys.modules["omlab_toy.models"].Embedder, "embed", again)
    other = omlab.load_model("embedder")  # another session of the same model
    assert omlab.features(other, "embed", cases(other, ramps), folder="store") == first
    assert first.stat().st_mtime_ns == made


def test_they_grow_with_the_cases_and_follow_their_files(ramps, here):
    session = omlab.load_model("embedder")
    omlab.features(session, "embed", cases(session, ramps), folder="store")
    prepared = session.model.prepared
    store = omlab.features(session, "embed", cases(session, ramps, "test"), folder="store")
    assert [line.split(",")[0] for line in store.read_text().splitlines()] == ["a", "b", "c", "d"]
    assert session.model.prepared == prepared + 2
    (here / "omlab-data" / "ramps" / "c.sig").write_text("signal\n8")
    omlab.features(session, "embed", cases(session, ramps, "test"), folder="store")
    assert "c,8.0,1.0" in store.read_text()
    assert session.model.prepared == prepared + 3


def test_another_model_has_a_store_of_its_own(ramps):
    from omlab.session import Session

    session = omlab.load_model("embedder")
    other = Session(session.model, card=session.card, identity={**session.identity, "settings": {"x": 1}}, name="other")
    stores = {omlab.features(one, "embed", cases(one, ramps), folder="store") for one in (session, other)}
    assert len(stores) == 2


def test_options_are_told_apart_and_reach_the_model(ramps, monkeypatch):
    session = omlab.load_model("embedder")
    option = {"type": "int", "default": 1, "help": "Times."}
    facts = {**session.card.does["embed"].model_dump(), "options": {"times": option}}
    card = session.card.model_validate({**session.card.model_dump(), "does": {"embed": facts}})
    seen = []

    class Told:
        def prepare(self, verb, inputs, /, *, times):
            seen.append(("prepare", times))
            return inputs["signal"].values

        def embed(self, batch, /, *, times):
            seen.append(("embed", times))
            return [sys.modules["omlab_toy.payloads"].Vector([times]) for _ in batch]

    from omlab.session import Session

    told = Session(Told(), card=card, identity=session.identity, name="told")
    stores = [omlab.features(told, "embed", cases(told, ramps), folder="store", times=times) for times in (2, 3)]
    assert [store.read_text()[:3] for store in stores] == ["a,2", "a,3"]
    assert set(seen) == {("prepare", 2), ("embed", 2), ("prepare", 3), ("embed", 3)}


def test_a_case_that_fails_is_told_and_the_others_are_kept(ramps, here):
    session = omlab.load_model("embedder")
    path = here / "omlab-data" / "ramps" / "b.sig"
    path.write_text("prose")
    with pytest.raises(OmlabError, match=r"Case 'b' has no vector: .*b\.sig is not a signal") as stop:
        omlab.features(session, "embed", cases(session, ramps), folder="store")
    assert stop.value.exit_status == 1
    path.write_text("signal\n1")
    prepared = session.model.prepared
    omlab.features(session, "embed", cases(session, ramps), folder="store")
    assert session.model.prepared == prepared + 1


def test_a_failure_of_other_cases_does_not_matter(ramps, here):
    session = omlab.load_model("embedder")

    class Broken(FileCase):
        def load(self):
            raise InputError("gone.")

    with pytest.raises(OmlabError, match="gone"):
        omlab.features(session, "embed", [Broken(id="x")], folder="store")
    assert omlab.features(session, "embed", cases(session, ramps), folder="store").is_file()


def test_what_no_format_collects_has_no_store(ramps):
    session = omlab.load_model("adder")
    with pytest.raises(UsageError, match="gives a signal by 'predict', which no format collects into one file"):
        omlab.features(session, "predict", [], folder="store")


def test_cases_made_in_memory(here):
    session = omlab.load_model("embedder")
    made = sys.modules["omlab_toy.payloads"].Signal([5, 7])

    class Made(FileCase):
        def load(self):
            return Sample(id=self.id, inputs={"signal": made})

    assert omlab.features(session, "embed", [Made(id="x")], folder="s").read_text() == "x,6.0,2.0\n"
