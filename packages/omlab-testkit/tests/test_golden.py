import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab_testkit import golden, parity
from omlab_testkit.outcome import PromiseError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "golden"
ROLES = ["weight", "scale", "bias", "mean", "var", "embed"]


@pytest.fixture(scope="module")
def reference():
    if not (SHARED / "golden.py").is_file():
        pytest.skip("../shared/golden is not here")
    spec = importlib.util.spec_from_file_location("reference_golden", SHARED / "golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("shape", [[], [1], [7], [3, 5], [2, 3, 1, 4, 2]])
def test_weights_are_drawn_as_the_reference_draws_them(reference, role, shape):
    ours = golden.draw_entry("stage0.conv.weight", shape=shape, role=role, salt="s")
    theirs = reference.draw("s", "stage0.conv.weight", shape, role)
    assert ours.dtype == theirs.dtype == torch.float32
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("shape", [[], [4], [2, 3]])
@pytest.mark.parametrize("dist", ["normal", "uniform", "integer"])
def test_inputs_are_drawn_as_the_reference_draws_them(reference, dist, shape):
    spec = {"shape": shape, "salt": "in", "dist": dist, "low": -3, "high": 9}
    ours = golden.draw_inputs({"inputs": {"image": spec}})["image"]
    theirs = reference.make_input("image", spec)
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("shape", [[1], [9], [11, 13], [40, 50]])
def test_outputs_are_described_as_the_reference_describes_them(reference, shape):
    tensor = golden.draw_inputs({"inputs": {"x": {"shape": shape, "salt": "out"}}})["x"]
    assert golden.describe("logits", tensor) == reference.describe_output("logits", tensor)


def test_known_values_of_the_stream():
    drawn = golden.uniform(3, salt="salt", name="name")
    expected = [0.22968998065997115, 0.3229014488111712, 0.6877422020315197]  # as the reference draws them
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-16)


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(1, 6), max_size=4), salt=st.text(max_size=8))
def test_standard_values_are_bounded_and_a_prefix_is_a_prefix(shape, salt):
    values = golden.standard(shape, salt=salt, name="x")
    assert values.shape == tuple(shape)
    assert np.abs(values).max() <= math.sqrt(3) + 1e-6
    longer = golden.uniform(values.size + 5, salt=salt, name="x")
    np.testing.assert_array_equal(longer[: values.size], golden.uniform(values.size, salt=salt, name="x"))


PARITY = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3)
        self.linear = torch.nn.Linear(3, width)

def build(case):
    return Net(case["build"]["width"]).eval()

def run(module, case, inputs):
    hidden = module.norm(inputs["x"])
    return {"hidden": hidden, "logits": module.linear(hidden), "loss": module.linear(hidden).mean()}
"""
STATE = [
    ["norm.weight", [3], "float32", "scale"],
    ["norm.bias", [3], "float32", "bias"],
    ["norm.running_mean", [3], "float32", "mean"],
    ["norm.running_var", [3], "float32", "var"],
    ["norm.num_batches_tracked", [], "int64", "fixed"],
    ["linear.weight", [4, 3], "float32", "weight"],
    ["linear.bias", [4], "float32", "bias"],
]


@pytest.fixture
def package(tmp_path):
    """A tests folder with parity.py and a case measured with plain arithmetic."""
    (tmp_path / "parity.py").write_text(PARITY)
    (tmp_path / "golden").mkdir()
    case = {
        "model": "tiny",
        "build": {"width": 4},
        "salt": "tiny",
        "rtol": 1e-4,
        "inputs": {"x": {"shape": [5, 3], "salt": "tiny-in", "dist": "normal"}},
        "state": STATE,
    }
    w = {key: tensor.double() for key, tensor in golden.draw_state(case).items()}
    x = golden.draw_inputs(case)["x"].double()
    scale = w["norm.weight"] / torch.sqrt(w["norm.running_var"] + 1e-5)
    hidden = (x - w["norm.running_mean"]) * scale + w["norm.bias"]
    logits = hidden @ w["linear.weight"].T + w["linear.bias"]
    outputs = {"hidden": hidden, "logits": logits, "loss": logits.mean()}
    case["outputs"] = {name: golden.describe(name, tensor) for name, tensor in outputs.items()}
    path = tmp_path / "golden" / "tiny.json"
    path.write_text(json.dumps(case))
    (tmp_path / "golden" / "plain.json").write_text(json.dumps([{"input": 1, "expected": 2}]))
    return tmp_path


def change(package: Path, edit) -> Path:
    path = package / "golden" / "tiny.json"
    case = json.loads(path.read_text())
    edit(case)
    path.write_text(json.dumps(case))
    return path


def test_a_right_port_passes_and_says_how_close_it_is(package):
    (path,) = parity.find_cases([package / "golden"])
    worst = parity.check_case(parity.load_parity(package), path)
    assert worst.keys() == {"hidden", "logits", "loss"}
    assert max(worst.values()) < 1e-5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("self.linear = ", "self.head = ", "lacks linear.bias, linear.weight"),
        ("Linear(3, width)", "Linear(3, width + 1)", r"linear.weight \[5, 3\] \(checkpoint: \[4, 3\]\)"),
        ("module.norm(inputs", "2 * module.norm(inputs", "hidden: off by .*; logits: off by"),
        ('{"hidden": hidden, ', "{", "hidden: not among the outputs"),
        ('"logits": module.linear(hidden)', '"logits": module.linear(hidden)[:2]', r"logits: shape \[2, 4\]"),
        ('"loss": ', '"loss": float("nan") * ', "loss: not finite"),
        (".eval()", "", "training mode"),
    ],
)
def test_a_wrong_port_fails_with_the_place(package, old, new, message):
    text = (package / "parity.py").read_text()
    assert old in text
    (package / "parity.py").write_text(text.replace(old, new))
    with pytest.raises(PromiseError, match=message):
        parity.check_case(parity.load_parity(package), package / "golden" / "tiny.json")


def test_a_case_that_is_refused_is_not_passed_over(package):
    path = change(package, lambda case: case.update(build={}))
    with pytest.raises(KeyError):
        parity.check_case(parity.load_parity(package), path)


def test_an_unknown_role_or_distribution_is_named(package):
    path = change(package, lambda case: case["state"][0].__setitem__(3, "odd"))
    with pytest.raises(PromiseError, match=r"'norm.weight' the role 'odd'"):
        parity.check_case(parity.load_parity(package), path)
    with pytest.raises(PromiseError, match="distribution 'odd'"):
        golden.draw_inputs({"inputs": {"x": {"shape": [1], "salt": "", "dist": "odd", "low": 0, "high": 1}}})


def test_parity_file_must_be_there_and_have_both_functions(tmp_path):
    with pytest.raises(PromiseError, match=r"no .*parity\.py"):
        parity.load_parity(tmp_path)
    (tmp_path / "parity.py").write_text("def build(case): ...")
    with pytest.raises(PromiseError, match="no function 'run'"):
        parity.load_parity(tmp_path)


def test_a_damaged_case_names_its_file(tmp_path):
    (tmp_path / "cut.json").write_text('{"state": [')
    with pytest.raises(PromiseError, match=r"cut\.json cannot be read"):
        parity.find_cases([tmp_path])


def test_what_parts_give_is_kept_while_it_is_asked_for():
    class Pair(torch.nn.Module):
        def forward(self, x):
            return x + 1, x

    network = torch.nn.Sequential(torch.nn.ReLU(), Pair())
    with golden.recorded({"rectified": network[0], "first of two": network[1]}) as outputs:
        network(torch.tensor([9.0]))
        network(torch.tensor([-1.0, 2.0]))
    network(torch.zeros(3))
    assert {name: output.tolist() for name, output in outputs.items()} == {
        "rectified": [0, 2],
        "first of two": [1, 3],
    }
