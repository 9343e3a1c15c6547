import json

import pytest
from labelling import labelling
from starlette.testclient import TestClient

from omlab_text.label.records import export
from omlab_text.label.server import application
from omlab_text.label.store import Store


class Somebody:
    """Asks as the page does, with the token of a new account."""

    def __init__(self, store, name, role="annotator"):
        self.client = TestClient(application(store))
        self.headers = {"Authorization": f"Bearer {store.add_account(name, role)}"}

    def ask(self, method, path, **value):
        return self.client.request(method, path, headers=self.headers, json=value or None)

    def next(self):
        return self.ask("POST", "/api/next").json()

    def say(self, id, **label):
        return self.ask("PUT", "/api/label", id=id, label=label)

    def rank(self, *, best, state="done"):
        """Rank the next question by a text that is best, the others tied."""
        question = self.next()["question"]
        ranks = {str(place): 1 if text.startswith(best) else 2 for place, text in enumerate(question["answers"])}
        assert self.say(question["id"], state=state, ranks=ranks, seconds=3.0).status_code == 200
        return question["id"]


def test_a_ranking_is_exported_by_the_models_answers_whatever_order_they_were_shown_in(tmp_path):
    store = labelling(tmp_path, questions=1, twice=1.0)
    annotators = [Somebody(store, name) for name in ("ann", "bob")]
    orders = []
    for annotator in annotators:
        question = annotator.next()["question"]
        orders.append(question["answers"])
        best = str(question["answers"].index("answer 2 to 0"))
        ranks = {str(place): 1 if str(place) == best else 2 for place in range(4)}
        label = {
            "ranks": ranks,
            "scores": {best: {"safe": 9}},
            "tags": {best: ["off topic"]},
            "note": "why",
            "seconds": 4.5,
        }
        assert annotator.say(question["id"], state="done", **label).status_code == 200
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert export(store, tmp_path / "preferences.jsonl") == 2
    rows = [json.loads(line) for line in (tmp_path / "preferences.jsonl").read_text().splitlines()]
    assert [row.pop("annotator") for row in rows] == ["ann", "bob"]
    assert rows[0] == rows[1]
    assert rows[0] == {
        "id": "q00",
        "area": "radiology",
        "disease": "",
        "prompt": [{"role": "user", "content": "Question 0?"}],
        "answers": [{"id": f"m{n}", "text": f"answer {n} to 0", "model": f"model-{n}"} for n in range(4)],
        "ranks": {"m0": 2, "m1": 2, "m2": 1, "m3": 2},
        "scores": {"m2": {"safe": 9}},
        "tags": {"m2": ["off topic"]},
        "note": "why",
        "role": "annotator",
        "seconds": 4.5,
    }


def test_nothing_that_the_page_is_told_names_a_model(tmp_path):
    ann = Somebody(labelling(tmp_path), "ann")
    for asked in (ann.ask("GET", "/api/me"), ann.ask("POST", "/api/next")):
        assert asked.status_code == 200
        assert "model" not in asked.text
        assert '"m0"' not in asked.text


def test_half_a_surrogate_pair_is_shown_and_exported(tmp_path):
    store = labelling(tmp_path, questions=1, text="answer {answer} \ud83d")
    ann = Somebody(store, "ann")
    assert ann.next()["question"]["answers"][0].endswith("\ud83d")
    ann.rank(best="answer 1")
    assert export(store, tmp_path / "preferences.jsonl") == 1
    assert "answer 1" in (tmp_path / "preferences.jsonl").read_text()


def test_what_is_begun_comes_back_and_a_new_server_knows_it(tmp_path):
    store = labelling(tmp_path)
    ann = Somebody(store, "ann")
    id = ann.next()["question"]["id"]
    ann.say(id, state="draft", ranks={"0": 1}, seconds=2.0)
    again = TestClient(application(Store(store.path))).post("/api/next", headers=ann.headers).json()
    assert again["question"]["id"] == id
    assert again["label"]["ranks"] == {"0": 1}
    assert again["label"]["seconds"] == 2.0


def test_two_who_ask_at_once_are_asked_different_questions(tmp_path):
    store = labelling(tmp_path, questions=3)
    ann, bob = Somebody(store, "ann"), Somebody(store, "bob")
    asked = [ann.next()["question"]["id"], bob.next()["question"]["id"]]
    assert asked == ["q00", "q01"]
    ann.rank(best="answer 0")
    assert ann.next()["question"]["id"] == "q02"
    bob.rank(best="answer 0")
    assert bob.next()["question"] is None


def test_skipped_goes_to_others_and_escalated_to_the_adjudicator(tmp_path):
    store = labelling(tmp_path, questions=2)
    ann, bob, judge = Somebody(store, "ann"), Somebody(store, "bob"), Somebody(store, "judge", "adjudicator")
    ann.say(ann.next()["question"]["id"], state="skipped")
    assert judge.next()["question"] is None
    ann.say(ann.next()["question"]["id"], state="escalated", note="not my field")
    assert ann.next()["question"] is None
    assert bob.rank(best="answer 1") == "q00"
    assert bob.next()["question"] is None
    assert judge.rank(best="answer 1") == "q01"


def test_a_disagreement_is_settled_by_the_adjudicator(tmp_path):
    store = labelling(tmp_path, questions=2, twice=1.0)
    ann, bob, judge = Somebody(store, "ann"), Somebody(store, "bob"), Somebody(store, "judge", "adjudicator")
    for annotator, second in ((ann, "answer 1"), (bob, "answer 2")):
        annotator.rank(best="answer 0")
        annotator.rank(best=second)
    assert judge.rank(best="answer 1") == "q01"
    assert judge.next()["question"] is None
    seen = judge.ask("GET", "/api/overview").json()
    assert (seen["labelled"], seen["disputed"], seen["settled"]) == (2, 1, 1)
    assert seen["agreement"]["questions"] == 2
    assert seen["agreement"]["tau"] == pytest.approx((1 - 1 / 3) / 2)


def test_a_finished_label_can_be_changed_but_not_by_a_page_left_open(tmp_path):
    ann = Somebody(labelling(tmp_path), "ann")
    id = ann.rank(best="answer 0")
    late = ann.say(id, state="draft", ranks={"0": 1})
    assert late.status_code == 422
    assert "is finished" in late.json()["error"]
    assert ann.ask("POST", "/api/open", id=id).json()["label"]["state"] == "done"
    assert ann.say(id, state="done", ranks=dict.fromkeys("0123", 1)).status_code == 200
    assert ann.ask("POST", "/api/open", id=id).json()["label"]["ranks"] == dict.fromkeys("0123", 1)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ({"state": "done", "ranks": {"0": 1, "1": 1}}, "2 of 4 answers have no rank"),
        ({"state": "draft", "ranks": {"0": 1, "1": 3}}, "none is left out"),
        ({"state": "draft", "ranks": {"4": 1}}, "no answer '4'"),
        ({"state": "draft", "scores": {"0": {"safe": 11}}}, "from 1 to 10"),
        ({"state": "draft", "scores": {"0": {"kind": 1}}}, "no axis 'kind'"),
        ({"state": "draft", "tags": {"0": ["bad"]}}, "no tag 'bad'"),
        ({"state": "draft", "seconds": -1.0}, "seconds: "),
        ({"state": "gone"}, "state: "),
        ({"state": "draft", "note": "a" * 5000}, "note: "),
        ("done", "label: "),
    ],
)
def test_a_label_that_cannot_be_is_refused_with_a_reason_and_the_former_is_kept(label, said, tmp_path):
    ann = Somebody(labelling(tmp_path), "ann")
    id = ann.next()["question"]["id"]
    ann.say(id, state="draft", ranks={"2": 1})
    refused = ann.ask("PUT", "/api/label", id=id, label=label)
    assert refused.status_code == 422
    assert said in refused.json()["error"]
    assert ann.next()["label"]["ranks"] == {"2": 1}


def test_who_may_ask(tmp_path):
    store = labelling(tmp_path)
    ann, bob, admin = Somebody(store, "ann"), Somebody(store, "bob"), Somebody(store, "root", "admin")
    id = ann.next()["question"]["id"]
    assert bob.ask("POST", "/api/open", id=id).status_code == 403
    assert bob.say(id, state="skipped").status_code == 422
    assert bob.ask("POST", "/api/open", id="none").status_code == 404
    assert bob.ask("GET", "/api/overview").status_code == 403
    assert admin.next()["question"] is None
    assert {row["name"] for row in admin.ask("GET", "/api/overview").json()["accounts"]} == {"ann", "bob", "root"}
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": ann.headers["Authorization"][7:]}):
        assert ann.client.post("/api/next", headers=headers).status_code == 401


def test_a_new_link_ends_the_old_one_and_no_token_is_in_the_file(tmp_path):
    store = labelling(tmp_path)
    old = Somebody(store, "ann")
    new = Somebody(store, "ann")
    assert old.ask("GET", "/api/me").status_code == 401
    assert new.ask("GET", "/api/me").json()["name"] == "ann"
    assert new.headers["Authorization"].split()[1].encode() not in store.path.read_bytes()


def test_odd_requests_are_refused_in_a_sentence(tmp_path):
    ann = Somebody(labelling(tmp_path), "ann")
    for content, status in ((b"{", 400), (b"[" * 100_000, 400), (b" " * 300_000, 413), (b"[]", 404), (b"null", 404)):
        refused = ann.client.put("/api/label", headers=ann.headers, content=content)
        assert refused.status_code == status
        assert refused.json()["error"].endswith(".")


def test_the_page_may_load_its_own_files_alone(tmp_path):
    client = TestClient(application(labelling(tmp_path)))
    for path in ("/", "/page.css", "/page.js"):
        found = client.get(path)
        assert found.status_code == 200
        assert found.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert "http" not in found.text.replace("http://www.w3.org/2000/svg", "")
