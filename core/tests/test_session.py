"""A session gives what its card promises, or one sentence."""

import threading
import time
import warnings

import pytest

from omlab.card_schema import ModelCard
from omlab.errors import DeviceError, GeometryError, InputError, OmlabError, PluginError, SettingsError, UsageError
from omlab.gates import DoubtWarning, Gates
from omlab.roles import Delta
from omlab.session import Session, WrongCountError


class Line:
    """Numbers on a lattice."""

    kind = "line"

    def __init__(self, *values, start=0):
        self.values, self.start = list(values), start

    def same_grid(self, other):
        return (len(self.values), self.start) == (len(other.values), other.start)

    def same_frame(self, other):
        return self.start == other.start

    def is_finite(self):
        return all(value == value for value in self.values)


class Marks:
    """Marks of one or more sorts, which belong to a line."""

    kind = "marks"

    def __init__(self, *sorts, at=0):
        self.sorts, self.at = sorts, at

    def facets(self):
        return frozenset(self.sorts)

    def check_belongs(self, inputs):
        if self.at >= len(inputs["line"].values):
            raise GeometryError(f"The mark at {self.at} lies outside.")


class Pair:
    """A line in two parts."""

    kind = "pair"

    def __init__(self, one, two):
        self.one, self.two = one, two

    def parts(self):
        return {"one": self.one, "two": self.two}


def session_of(model, *, takes=None, gives="line", name="toy", **facts):
    verb = {"takes": takes or {"line": "line"}, "gives": gives, **facts}
    card = {
        "name": "toy",
        "summary": "A toy.",
        "entry": "a:b",
        "licence": "CC0",
        "citation": "none",
        "intended_use": "Tests.",
        "limits": "All.",
        "does": {"predict": verb},
    }
    return Session(model, card=ModelCard.model_validate(card), identity={"name": name}, name=name)


class Model:
    """Gives for each case what `answer` gives."""

    def __init__(self, answer=lambda inputs: inputs["line"]):
        self.answer = answer
        self.batches = []

    def predict(self, batch, /, **options):
        self.batches.append([case["line"].values[0] for case in batch])
        for case in batch:
            yield self.answer(case)


class Listed(Model):
    """Gives all results of a batch at once."""

    def predict(self, batch, /, **options):
        return list(super().predict(batch))


def lines(*values):
    return [{"line": Line(value)} for value in values]


def test_one_case_by_kind_by_name_and_as_a_batch():
    session = session_of(Model())
    line = Line(1)
    assert session.predict(line) is line
    assert session.predict(line=line) is line
    assert session.apply("predict", [{"line": line}, {"line": line}]) == [line, line]
    assert repr(session) == "<Session toy: predict>"


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda s: s.predict(), UsageError, "'toy' needs the input 'line', a line: give line=FILE."),
        (lambda s: s.predict(None), UsageError, "'toy' needs the input 'line'"),
        (lambda s: s.predict(line=None), UsageError, "'toy' needs the input 'line'"),
        (lambda s: s.predict("ct.nii.gz"), UsageError, r"given a str without a name, but it takes line \(line\)"),
        (lambda s: s.predict(line=5), UsageError, "input 'line' of 'toy' is a line, but an int was given"),
        (lambda s: s.predict(line=Pair(1, 2)), UsageError, "is a line, but a pair was given"),
        (lambda s: s.predict(Line(1), lien=Line(1)), UsageError, "no input or option 'lien': did you mean 'line'"),
        (lambda s: s.predict(Line(1), tmes=2), UsageError, "no input or option 'tmes': did you mean 'times'"),
        (lambda s: s.predict(Line(1), times="often"), SettingsError, "must be a whole number"),
        (lambda s: s.apply("predict", [], tmes=1), SettingsError, "has no option 'tmes': did you mean 'times'"),
        (lambda s: s.apply("predikt", []), UsageError, "has no verb 'predikt': did you mean 'predict'"),
        (lambda s: s.stream("predict", {}).__next__(), UsageError, "does not stream"),
        (lambda s: s.embed(Line(1)), AttributeError, "'toy' does not embed; it does predict"),
    ],
)
def test_a_call_that_makes_no_sense_is_one_sentence(call, error, sentence):
    times = {"type": "int", "default": 1, "help": "How often."}
    with pytest.raises(error, match=sentence):
        call(session_of(Model(), options={"times": times}))


def test_inputs_that_are_no_mapping_are_told(capsys):
    [error] = session_of(Model()).apply("predict", [Line(1)])
    assert "payloads by name, but a line was given" in str(error)


def test_a_payload_without_a_name_goes_where_its_kind_stands_once():
    takes = {"fixed": "line", "moving": "line", "marks": "marks?"}
    session = session_of(Model(lambda inputs: inputs["moving"]), takes=takes)
    with pytest.raises(UsageError, match="several inputs are of that kind: name the input"):
        session.predict(Line(1))
    with pytest.raises(UsageError, match="needs the input 'fixed'"):
        session.predict(Marks("point"), moving=Line(2))
    optional = session_of(Model(), takes={"line": "line", "before": "line?"})
    assert optional.predict(Line(1)).values == [1]  # the required one of two


def test_options_are_completed_and_checked_before_the_model_sees_them():
    seen = []

    class Asked(Model):
        def predict(self, batch, /, *, times):
            seen.append(times)
            return super().predict(batch)

    session = session_of(Asked(), options={"times": {"type": "int", "default": 3, "help": "How often.", "minimum": 1}})
    session.predict(Line(1))
    session.predict(Line(1), times="5")
    assert seen == [3, 5]
    with pytest.raises(SettingsError, match="at least 1"):
        session.predict(Line(1), times=0)


def test_sorts_of_an_input_are_held_to_what_is_accepted():
    takes = {"line": "line", "marks": "marks?"}
    session = session_of(Model(), takes=takes, accepts={"marks": ["point"]})
    assert session.predict(Line(1), marks=Marks("point")).values == [1]
    with pytest.raises(UsageError, match="takes no box in 'marks'; it takes point"):
        session.predict(Line(1), marks=Marks("point", "box"))


def test_an_input_must_belong_to_the_others():
    with pytest.raises(GeometryError, match="lies outside"):
        session_of(Model(), takes={"line": "line", "marks": "marks?"}).predict(Line(1), marks=Marks("point", at=1))


@pytest.mark.parametrize(
    ("answer", "facts", "sentence"),
    [
        (Marks("point"), {}, "gave a marks, but its card promises a line"),
        (None, {}, "gave a NoneType, but its card promises a line"),
        (Line(float("nan")), {}, "NaN or infinite"),
        (Line(1, 2), {"grid": "line"}, "does not lie on the grid of its input"),
        (Line(1, start=4), {"grid": "line"}, "does not lie on the grid"),
        (Line(1, start=4), {"frame": "line"}, "in another space than its input"),
        (Pair(Line(1), Line(1, 2)), {"grid": "line", "gives": "pair"}, "does not lie on the grid"),
        (Pair(Line(1), Line(float("nan"))), {"gives": "pair"}, "NaN or infinite"),
    ],
)
def test_a_broken_promise_fails_its_case_alone(answer, facts, sentence):
    session = session_of(Model(lambda inputs: answer if inputs["line"].values == [2] else inputs["line"]), **facts)
    if facts.get("gives") == "pair":
        [failed] = session.apply("predict", lines(2))
    else:
        one, failed, three = session.apply("predict", lines(1, 2, 3))
        assert (one.values, three.values) == ([1], [3])
    assert isinstance(failed, OmlabError)
    assert sentence in str(failed)


def test_what_keeps_a_promise_passes():
    session_of(Model(lambda _: Line(1, 2, start=0)), frame="line").predict(Line(5))
    marks = session_of(Model(lambda _: Marks("point")), gives="marks", grid="line")
    marks.predict(Line(5))  # what has no lattice lies on none


def refuse(bad, error):
    def answer(inputs):
        if inputs["line"].values == [bad]:
            raise error
        return inputs["line"]

    return answer


def test_of_a_batch_that_fails_what_was_given_is_kept_and_the_rest_done_singly():
    model = Model(refuse(3, InputError("three is refused.")))
    results = session_of(model).apply("predict", lines(1, 2, 3, 4, 5))
    assert [r.values if isinstance(r, Line) else str(r) for r in results] == [[1], [2], "three is refused.", [4], [5]]
    assert model.batches == [[1, 2, 3, 4, 5], [3], [4], [5]]


def test_of_a_batch_that_gives_nothing_all_is_done_singly():
    model = Listed(refuse(3, ValueError("odd")))
    results = session_of(model).apply("predict", lines(1, 2, 3))
    assert model.batches == [[1, 2, 3], [1], [2], [3]]
    assert "unexpected ValueError in 'predict' of 'toy': odd (test_session.py, line " in str(results[2])
    assert isinstance(results[2].__cause__, ValueError)


def test_an_error_given_in_place_of_a_result_is_that_cases_failure():
    model = Model(lambda inputs: InputError("no") if inputs["line"].values == [2] else inputs["line"])
    assert str(session_of(model).apply("predict", lines(1, 2, 3))[1]) == "no"
    assert len(model.batches) == 1
    with pytest.raises(InputError, match="no"):
        session_of(model).predict(Line(2))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_count_is_the_models_fault_and_never_tried_again(count):
    class Miscounting(Model):
        def predict(self, batch, /):
            self.batches.append(len(batch))
            return [Line(1)] * count

    model = Miscounting()
    with pytest.raises(WrongCountError, match=r"results for a batch of (2|as many)"):
        session_of(model).apply("predict", lines(1, 2))
    assert model.batches == [2]
    assert issubclass(WrongCountError, PluginError)


def test_a_lost_device_ends_it():
    model = Listed(refuse(2, RuntimeError("CUDA error: an illegal memory access was encountered\nmore")))
    with pytest.raises(DeviceError, match=r"device is lost \(CUDA error: an illegal memory access was encountered\)"):
        session_of(model).apply("predict", lines(1, 2, 3))
    assert len(model.batches) == 1


def test_a_case_without_enough_memory_fails_alone():
    model = Listed(refuse(2, MemoryError("no room")))
    one, failed, three = session_of(model).apply("predict", lines(1, 2, 3))
    assert (one.values, three.values) == ([1], [3])
    assert "not enough memory for this case: no room; use a smaller batch" in str(failed)


def test_what_failed_of_a_batch_holds_nothing_while_the_rest_is_tried():
    import gc
    import weakref

    held = []

    class Large(Model):
        def predict(self, batch, /):
            if len(batch) > 1:
                buffer = Line(*range(9))
                held.append(weakref.ref(buffer))
                raise MemoryError("no room")
            gc.collect()
            assert held[0]() is None
            return [Line(1)]

    assert [result.values for result in session_of(Large()).apply("predict", lines(1, 2))] == [[1], [1]]


class Prepared(Model):
    """Prepares a case into its number."""

    def __init__(self):
        super().__init__()
        self.prepared = []

    def prepare(self, verb, inputs, /, **options):
        self.prepared.append((verb, inputs["line"].values, options))
        if inputs["line"].values == [13]:
            raise KeyError("unlucky")
        return inputs["line"].values[0]

    def predict(self, batch, /, **options):
        return [Line(10 * number) for number in batch]


def test_a_case_is_prepared_exactly_once_and_checked_against_its_inputs():
    model = Prepared()
    session = session_of(model, grid="line", options={"fast": {"type": "bool", "default": False, "help": "Be fast."}})
    ready = session.prepare("predict", {"line": Line(1)}, fast="yes")
    results = session.apply("predict", [ready, {"line": Line(2)}, {"line": Line(3, 4)}], fast=True)
    assert [result.values for result in results[:2]] == [[10], [20]]
    assert isinstance(results[2], GeometryError)
    assert [values for _, values, _ in model.prepared] == [[1], [2], [3, 4]]
    assert all(options == {"fast": True} for _, _, options in model.prepared)


def test_a_case_that_cannot_be_prepared_fails_alone():
    one, failed, three = session_of(Prepared()).apply("predict", lines(1, 13, 3))
    assert (one.values, three.values) == ([10], [30])
    assert "unexpected KeyError" in str(failed)
    with pytest.raises(UsageError, match="needs the input"):
        session_of(Prepared()).prepare("predict", {})


class Streaming(Model):
    def __init__(self, *items):
        super().__init__()
        self.items, self.closed = items, False

    def stream(self, verb, inputs, /):
        try:
            for item in self.items:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed = True


def test_a_result_is_streamed_and_its_end_is_held_to_the_card():
    end = Line(1)
    model = Streaming(Delta(text="a"), Delta(text="b"), end)
    session = session_of(model, streams=True, grid="line")
    assert list(session.stream("predict", {"line": Line(2)})) == [Delta(text="a"), Delta(text="b"), end]
    assert model.closed
    with pytest.raises(GeometryError):
        list(session.stream("predict", {"line": Line(2, 3)}))


def test_closing_a_stream_cancels_it_and_frees_the_session():
    model = Streaming(Delta(text="a"), Delta(text="b"), Line(1))
    session = session_of(model, streams=True)
    stream = session.stream("predict", {"line": Line(1)})
    assert next(stream) == Delta(text="a")
    with pytest.raises(UsageError, match="streaming in this thread: end or close that first"):
        session.predict(Line(1))  # it would wait for itself
    stream.close()
    assert model.closed
    assert session.predict(Line(4)).values == [4]


@pytest.mark.parametrize(
    ("items", "error", "sentence"),
    [
        ([Delta(text="a")], PluginError, "streamed no result: its last item must be a line"),
        ([], PluginError, "streamed no result"),
        ([Marks("point")], OmlabError, "its card promises a line"),
        ([ValueError("odd")], OmlabError, "unexpected ValueError in 'predict' of 'toy': odd"),
        ([InputError("no")], InputError, "no"),
        ([RuntimeError("CUDA error: gone")], DeviceError, "device is lost"),
    ],
)
def test_a_stream_that_goes_wrong_is_one_sentence(items, error, sentence):
    session = session_of(Streaming(*items), streams=True)
    with pytest.raises(error, match=sentence):
        list(session.stream("predict", {"line": Line(1)}))
    assert session.predict(Line(1)).values == [1]


def test_calls_from_several_threads_are_done_one_after_the_other():
    inside, most = [0], [0]

    def answer(inputs):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.005)
        inside[0] -= 1
        return inputs["line"]

    session = session_of(Model(answer))
    results = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: session.predict(Line(n)).values})) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert results == {n: [n] for n in range(8)}


class TellingLine(Line):
    """A line that tells more than its values."""

    def __init__(self, *values, facts=None):
        super().__init__(*values)
        self.facts = facts or {}

    def tells(self):
        return self.facts

    def telling(self, facts):
        return TellingLine(*self.values, facts=facts)


def short(line, expected):
    """The gate of lines: those above what is expected are doubtful."""
    most = expected.get("most", 9)
    return {"doubts": [f"{value} is above {most}." for value in line.values if value > most], "most": most}


def gated_session(*, refuses=False, gate=short, **expects):
    session = session_of(Model(lambda inputs: TellingLine(*inputs["line"].values, facts={"own": 1})), expects=expects)
    session.gates = Gates(by_kind={"line": gate}, refuses=refuses)
    return session


def test_what_is_doubtful_is_warned_of_and_told_by_the_result():
    session = gated_session(line={"most": 3})
    with pytest.warns(DoubtWarning, match="5 is above 3"):
        result = session.predict(Line(5))
    assert result.tells() == {"own": 1, "gate": {"line": {"doubts": ["5 is above 3."], "most": 3}}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert session.predict(Line(2)).tells()["gate"]["line"]["doubts"] == []


def test_a_result_is_looked_at_too_and_never_refused():
    session = gated_session(refuses=True, result={"most": 1})
    with pytest.warns(DoubtWarning, match="2 is above 1"):
        assert session.predict(Line(2)).tells()["gate"]["result"]["most"] == 1


def test_what_is_doubtful_is_refused_where_it_is_asked_for():
    session = gated_session(refuses=True, line={"most": 3})
    with pytest.raises(InputError, match=r"5 is above 3\. It was refused, as the setting 'gate' asks\."):
        session.predict(Line(5))
    assert session.predict(Line(1)).values == [1]


def test_nothing_is_looked_at_of_which_nothing_is_expected():
    session = gated_session()
    assert session.predict(Line(99)).tells() == {"own": 1}


def test_a_gate_that_fails_is_a_doubt_and_takes_no_result_away():
    session = gated_session(gate=lambda line, expected: 1 / 0, line={})
    with pytest.warns(DoubtWarning, match="could not look at it .ZeroDivisionError"):
        assert session.predict(Line(5)).values == [5]


def test_a_verb_expects_something_of_its_inputs_and_result_alone():
    with pytest.raises(ValueError, match="expects names 'mask'"):
        session_of(Model(), expects={"mask": {}})
