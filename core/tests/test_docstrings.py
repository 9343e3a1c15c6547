"""The examples of the docstrings run, and do what the words around them say."""

import inspect
import re
import sys
import textwrap
from pathlib import Path

import pytest

import omlab
from omlab import roles
from omlab.cli import group
from omlab.jobs import run_cases
from omlab.payloads import Payload
from omlab.session import Session

FENCE = re.compile(r"^( *)```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SHOWN = (Payload, roles.Case, roles.Dataset, roles.Format, roles.Model, roles.Trainable, roles.Adapter, roles.Evaluator)


def example(shown):
    """The one example of a docstring."""
    [(_, code)] = FENCE.findall(inspect.getsource(shown))
    return textwrap.dedent(code)


@pytest.fixture
def examples():
    """A fresh module, in which examples run one after the other."""
    module = sys.modules["examples_of_docstrings"] = type(sys)("examples_of_docstrings")

    def run(*shown):
        for one in shown:
            exec(compile(example(one), f"example of {one.__name__}", "exec"), vars(module))
        return module

    yield run
    del sys.modules["examples_of_docstrings"]


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("lungs clear")
    (folder / "b.txt").write_text("no effusion seen")
    return folder


def test_every_example_of_the_roles_is_run_here():
    assert len(FENCE.findall(inspect.getsource(roles))) + 1 == len(SHOWN)


def test_a_data_set_gives_cases_that_a_model_counts_and_a_format_writes(examples, texts, tmp_path):
    shown = examples(Payload, roles.Case, roles.Dataset, roles.Format, roles.Model)
    data = shown.Notes(texts)
    assert data.about("test").cases == 2
    assert data.verify() == []
    before = data.digest("test")
    samples = [case.load() for case in data.cases("test")]
    assert [sample.inputs["text"].text for sample in samples] == ["lungs clear", "no effusion seen"]
    model = shown.load(None, weights=None, needs={}, device="cpu", settings={}, config=None)
    counted = model.predict([sample.inputs for sample in samples])
    assert [answer.text for answer in counted] == ["2", "3"]
    shown.PlainText().write(counted[0], tmp_path / "a.txt", inputs={})
    assert shown.PlainText().read(tmp_path / "a.txt", kind="words") == counted[0]
    (texts / "c.txt").write_text("more")
    assert data.digest("test") != before


def test_an_adapter_keeps_the_commonest_answer(examples, tmp_path):
    shown = examples(Payload, roles.Adapter)

    class Answered:
        def __init__(self, answer):
            self.answer = answer

        def load(self):
            return omlab.Sample(id=self.answer, inputs={}, target=shown.Words(self.answer))

    class Data:
        def cases(self, split):
            return [Answered(answer) for answer in ("yes", "no", "yes")]

    made = shown.Majority().fit(None, Data(), recipe=None, settings={}, seed=0, folder=tmp_path)
    model = shown.Majority().restore(None, config=made.config, tensors=made.tensors)
    assert [answer.text for answer in model.predict([{}, {}])] == ["yes", "yes"]
    safetensors = pytest.importorskip("safetensors.torch")
    assert safetensors.load_file(made.tensors) == {}


def test_an_evaluator_reports_accuracy(examples, tmp_path):
    shown = examples(Payload, roles.Evaluator)
    sample = omlab.Sample(id="a", inputs={}, target=shown.Words("yes"))
    measured = {
        answer: shown.Exact().measure(sample, shown.Words(answer), tmp_path) for answer in ("yes", "no", "perhaps")
    }
    [metric] = shown.Exact().report(measured, tmp_path).metrics
    assert (metric.name, metric.value, metric.n) == ("accuracy", pytest.approx(1 / 3), 3)


def test_retargeting_a_trainable_leaves_it_as_it_is(examples):
    pytest.importorskip("torch")
    shown = examples(roles.Trainable)
    model = shown.Toy()
    about = roles.About(inputs={}, classes={0: "a", 1: "b", 2: "c"})
    assert model.retarget("fit", about, settings={}, seed=0).config() == {"classes": 3}
    assert model.config() == {"classes": 2}
    assert set(model.layers()[0]) == {name for name, _ in model.module.named_parameters()}


def test_a_session_predicts_what_was_read(here, signal):
    signal("a.sig", [1, 2]).rename("a.sig")
    names = {"omlab": omlab}
    exec(example(Session).replace("stunet-base", "adder").replace("ct.nii.gz", "a.sig"), names)
    assert names["labels"].values == [2, 3]


def test_a_lazy_group_shows_a_command_before_it_is_imported():
    names = {"LazyGroup": group.LazyGroup}
    exec(example(group.LazyGroup), names)
    assert names["group"].known() == {"show": "Show a thing."}
    assert "omlab_things" not in sys.modules


def test_cases_are_counted_in_a_run(here, texts):
    names = {**vars(run_cases), "Metric": roles.Metric, "Report": roles.Report, "paths": sorted(texts.iterdir())}
    exec(example(run_cases.run_cases), names)
    assert names["outcome"].report.metrics[0].value == 5
    assert Path("counted/report.json").is_file()
