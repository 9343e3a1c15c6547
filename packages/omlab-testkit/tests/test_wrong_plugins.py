"""The example plugin passes every check; broken in one place it fails the check that is there for it."""

import re
from importlib import import_module

import pytest

from omlab_testkit.checks import all_checks

pytest_plugins = ["pytester"]
for heavy in ("torch._dynamo", "safetensors.torch", "omlab.weights"):
    import_module(heavy)  # once and here: the runs below forget what they import

CARDS, MODEL, DATA, PLUGIN, POINTED, SIGNALS = (
    f"omlab_example/{name}" for name in ("cards.toml", "model.py", "data.py", "plugin.py", "pointed.py", "signals.py")
)
FLIPPED_ON_GPU = 'device == "cuda" and module.register_forward_hook(lambda module, inputs, output: -output)\n    '
FORWARD = "marks = self.module(self._input(payload))[0].argmax(0)"

WRONG = [
    ("plugin_answers_with_cards", PLUGIN, "OMLAB_HOOK_API = 1", "OMLAB_HOOK_API = 7", "incompatible"),
    (
        "plugin_answers_with_cards",
        PLUGIN,
        "from omlab import",
        "import no_such_module\nfrom omlab import",
        "no_such_module",
    ),
    ("plugin_answers_with_cards", CARDS, "[[evaluator]]", "[[judge]]", "has a table 'judge'"),
    ("names_are_unique", CARDS, '"example-giant"', '"example-net"', "2 model cards called 'example-net'"),
    ("listing_imports_nothing_heavy", PLUGIN, "from omlab import", "import numpy\nfrom omlab import", "imports numpy"),
    ("card_is_complete", CARDS, 'intended_use = "Testing the test kit."', "", "intended_use"),
    ("card_is_complete", CARDS, 'licence = "CC-BY-4.0"', "", "licence"),
    ("card_is_complete", CARDS, 'licence = "CC-BY-4.0"', 'licence = "unknown"', "first.licence is 'unknown'"),
    ("card_is_complete", CARDS, "size = 1000", "", "size"),
    ("settings_have_valid_defaults", CARDS, "default = 3", 'default = "3"', "'3' is not of the type int"),
    ("settings_have_valid_defaults", CARDS, "default = 3", "default = true", "True is not of the type int"),
    ("settings_have_valid_defaults", CARDS, "default = 3", "default = 0", "outside 1"),
    ("settings_have_valid_defaults", CARDS, "default = 3", "default = 3\nchoices = [1, 2]", "not among the choices"),
    ("needs_name_other_models", CARDS, "parameters = 26", 'parameters = 26\nneeds = ["example-net"]', "is itself"),
    (
        "needs_name_other_models",
        CARDS,
        "parameters = 26",
        'parameters = 26\nneeds = ["No Model"]',
        "cannot be the name",
    ),
    ("entry_can_be_called", CARDS, "omlab_example.model:load", "omlab_example.model:laod", "has no 'laod'"),
    ("entry_can_be_called", CARDS, "omlab_example.model:load", "omlab_example.models:load", "does not exist"),
    (
        "entry_can_be_called",
        MODEL,
        "import torch\n",
        "import torch\nimport no_such_module\n",
        "needs the Python package",
    ),
    ("entry_can_be_called", MODEL, "settings, config):", "settings):", r"must take \(card, \*, weights, device"),
    ("entry_can_be_called", DATA, "def open_waves(card, *, root", "def open_waves(card, *, place", "must take"),
    ("weights_are_described", CARDS, 'name = "first.pth"', 'name = "first.safetensors"', "cannot have the wrapper"),
    ("weights_are_described", CARDS, "https://example.org/first.pth", "file:///home/me/first.pth", "one machine"),
    ("predict_keeps_geometry", MODEL, "astype(np.uint8), payload.affine)", "astype(np.uint8), 1.0)", "not on the grid"),
    ("predict_keeps_geometry", MODEL, FORWARD, FORWARD + "[1:]", "not on the grid"),
    ("predict_keeps_geometry", CARDS, 'gives = "marks"', 'gives = "signal"', "gives signal by its card, but marks"),
    (
        "predict_is_deterministic",
        MODEL,
        FORWARD,
        FORWARD + "\n        marks = torch.randint(0, 2**62, marks.shape) % 251",
        "not determ",
    ),
    ("predict_is_deterministic", MODEL, FORWARD, FORWARD + "\n        payload.array[0] += 1", "changes its input"),
    (
        "predict_is_deterministic",
        MODEL,
        FORWARD,
        FORWARD + "\n        import socket, contextlib"
        '\n        with contextlib.suppress(OSError), socket.socket() as s: s.connect(("127.0.0.1", 9))',
        r"touches the network.*127\.0\.0\.1",
    ),
    (
        "batch_equals_one_at_a_time",
        MODEL,
        "for payload in payloads]",
        "for payload in payloads[::-1]]",
        "differently in a batch",
    ),
    (
        "batch_equals_one_at_a_time",
        MODEL,
        "for payload in payloads]",
        "for payload in payloads[:1]]",
        "1 predictions for 2",
    ),
    ("prediction_has_a_picture", SIGNALS, "def overlay(", "def draw(", "has no overlay"),
    ("prediction_has_a_picture", SIGNALS, 'b"\\x89PNG', 'b"GIF89a', "is no PNG: it begins with b'GIF89a"),
    ("prediction_has_a_picture", SIGNALS, "+ self.array.tobytes()", "+ np.random.bytes(9)", "another one each time"),
    (
        "gpu_equals_cpu",
        MODEL,
        "return Model(module.to(device)",
        f"{FLIPPED_ON_GPU}return Model(module",
        "on a GPU differs",
    ),
    ("capabilities_are_implemented", MODEL, "def embed(", "def embedding(", "declares 'embed' but has no embed"),
    ("parameters_are_counted_right", CARDS, "parameters = 26", "parameters = 27", "has 26 parameters, not 27"),
    ("embedding_is_a_vector", MODEL, ".mean(-1).cpu()", ".cpu()", r"float32 of shape \(4, 12\)"),
    ("embedding_is_a_vector", MODEL, ".mean(-1).cpu()", ".double().mean(-1).cpu()", "float64"),
    (
        "embedding_is_a_vector",
        MODEL,
        ".cpu().numpy()\n\n    def r",
        '.cpu().numpy() + np.float32("inf")\n\n    def r',
        "NaN or infinity",
    ),
    (
        "embedding_is_a_vector",
        MODEL,
        ".cpu().numpy()\n\n    def r",
        ".cpu().numpy() + np.random.rand(4).astype(np.float32)\n\n    def r",
        "deterministic",
    ),
    ("saved_model_comes_back", MODEL, '{"classes": self.classes}', '{"classes": torch.tensor(2)}', "not JSON"),
    ("saved_model_comes_back", MODEL, 'config["classes"] if config', "3 if config", "cannot be built again"),
    (
        "saved_model_comes_back",
        MODEL,
        "if weights is not None:",
        "if weights is not None and not config:",
        "has other weights after",
    ),
    ("finetuning_trains", MODEL, "deepcopy(self.module)", "self.module", "changes the model"),
    (
        "finetuning_trains",
        MODEL,
        "cross_entropy(self.module(batch[0])",
        "cross_entropy(self.module(batch[0]) / 0",
        "not one finite",
    ),
    ("finetuning_trains", MODEL, "return 0.1", "return 0.0", "changes no weight"),
    (
        "finetuning_trains",
        MODEL,
        "[step % len(self.pairs)]",
        "[step % 2 if not (self.pairs.reverse()) else 0]",
        "another each time",
    ),
    (
        "capabilities_are_implemented",
        POINTED,
        "def simulate(",
        "def simulated(",
        "declares 'simulate' but has no simul",
    ),
    (
        "prompts_move_with_the_image",
        POINTED,
        "at = round(point.at[0])",
        "at = min(round(point.at[0]), 25)",
        "not follow m",
    ),
    (
        "prompts_move_with_the_image",
        POINTED,
        "    def predict(self, payload, *, prompts=None):",
        "    def predict(self, payload, *, prompts=None):\n        prompts = vars(self).setdefault('first', prompts)",
        r"does not follow moved content \(prompts in voxel\)",
    ),
    (
        "voxels_and_world_say_the_same",
        POINTED,
        "world(payload.affine), shape",
        "world(1.0), shape",
        "in ras to be elsewh",
    ),
    (
        "voxels_and_world_say_the_same",
        POINTED,
        "        array, image",
        "        prompts.__dict__.update(space=prompts.space.replace('lps', 'ras'))\n        array, image",
        "in lps to be elsewhere|outside",
    ),
    (
        "wrong_prompts_are_refused",
        POINTED,
        'prompts.require(["points"]',
        'prompts.require(["points", "text"]',
        "kind text",
    ),
    (
        "wrong_prompts_are_refused",
        POINTED,
        "shape=(len(array), 1, 1)",
        "shape=(10**9, 1, 1)",
        "A prompt outside the input",
    ),
    (
        "wrong_prompts_are_refused",
        POINTED,
        "payload.name or prompts.image",
        "prompts.image",
        "voxels of another image than the input of 'example-pointed' is accepted",
    ),
    (
        "missing_prompts_are_refused",
        POINTED,
        'raise UsageError("Point at a crest.")',
        "return Marks(np.zeros(len(payload.array), np.uint8), payload.affine)",
        "without prompts is accepted",
    ),
    ("missing_prompts_are_refused", POINTED, "raise UsageError(", "raise InputError(", "must be a UsageError"),
    (
        "simulated_clicks_can_be_repeated",
        POINTED,
        "default_rng(seed)",
        "default_rng(vars(self).setdefault('n', [0]).append(0) or len(self.n))",
        "are others for the same seed",
    ),
    ("simulated_clicks_can_be_repeated", POINTED, '"round": number', '"round": number - 1', r"are \[0, 1, 2\]"),
    ("simulated_clicks_can_be_repeated", POINTED, "dice = 2 *", "dice = 3 *", "has the Dice"),
    ("simulated_clicks_can_be_repeated", POINTED, '"object": "crest"', '"object": "dip"', "is {'object': 'dip'"),
    (
        "simulated_clicks_can_be_repeated",
        POINTED,
        "points=tuple(points)",
        "points=tuple(points[-1:])",
        "with 1 clicks for 'crest'",
    ),
    (
        "simulated_clicks_can_be_repeated",
        POINTED,
        "Simulated(prediction=prediction",
        "Simulated(prediction=Marks(1 - prediction.array, payload.affine)",
        "given as prompts, come to another",
    ),
    (
        "checkpoint_loads_by_its_key_table",
        CARDS,
        'missing = ["head.*"]',
        'missing = ["heads.*"]',
        "no key of the network matches",
    ),
    ("checkpoint_loads_by_its_key_table", CARDS, 'dropped = ["projector.*"]', 'dropped = ["body.*"]', "wants 'body"),
    ("checkpoint_loads_by_its_key_table", MODEL, "(file.wrapper, file.prefix)", '("", file.prefix)', "does not load"),
    ("checkpoint_loads_by_its_key_table", MODEL, "(file.wrapper, file.prefix)", '(file.wrapper, "")', "does not load"),
    (
        "checkpoint_loads_by_its_key_table",
        MODEL,
        "        load_state_dict(",
        "        (lambda *a, **k: 0)(",
        "not been loaded",
    ),
    (
        "wrong_checkpoint_is_refused",
        MODEL,
        "missing, dropped = (file.missing, file.dropped)",
        'missing, dropped = ("*", "*")',
        "as if nothing",
    ),
    ("wrong_payload_is_refused", MODEL, 'payload.kind != "signal"', "False", "raises AttributeError"),
    (
        "odd_payloads_work_or_are_refused",
        MODEL,
        "not np.isfinite(array).all()",
        "len(array) < 6 and 1 / 0",
        "ZeroDivisionError",
    ),
    (
        "bad_weights_are_refused",
        MODEL,
        "state = read_state_dict(weights",
        "state = torch.jit.load(weights) or read_state_dict(weights",
        "raises",
    ),
    (
        "bad_weights_are_refused",
        MODEL,
        "if weights is not None:",
        "if weights is not None and weights.exists():",
        "is accepted",
    ),
    ("format_card_is_true", DATA, "def write(self, payload", "def save(self, payload", "no method 'write'"),
    ("format_card_is_true", CARDS, 'default_for = ["marks"]', 'default_for = ["image"]', "does not write"),
    ("bad_files_are_refused", DATA, "(OSError, ValueError, KeyError)", "(OSError, KeyError)", "JSONDecodeError"),
    ("bad_files_are_refused", DATA, 'f"{path} is not', 'f"This is not', "without naming"),
    ("what_is_written_can_be_read", DATA, '"step": payload.affine', '"step": 1.0', "another grid"),
    ("what_is_written_can_be_read", DATA, "payload.array.tolist()", "payload.array.round(2).tolist()", "off by up to"),
    ("what_is_written_can_be_read", DATA, "return cls(", 'return CLASSES["signal"][0](', "comes back as signal"),
    (
        "dataset_is_what_its_card_says",
        CARDS,
        'splits = ["train", "test"]',
        'splits = ["train", "val"]',
        "has the splits",
    ),
    ("dataset_is_what_its_card_says", DATA, 'f"{split}-{n}"', 'f"train-{n}"', "is in 'train' and in 'test'"),
    (
        "dataset_is_what_its_card_says",
        DATA,
        "        if split not in self.splits():\n",
        "        if False:\n",
        "unknown split",
    ),
    ("dataset_is_what_its_card_says", DATA, "target=Marks(", "target=Signal(", "is of the kind signal"),
    ("dataset_is_what_its_card_says", DATA, "return [] if", "return [] if not", "finds itself damaged"),
    ("adapter_answers_its_role", DATA, "def restore(", "def load(", "no method 'restore'"),
    ("evaluator_judges_a_perfect_prediction", DATA, "low=mean", "low=mean + 1", "agreement is 1.0 in 2.0"),
    ("evaluator_judges_a_perfect_prediction", DATA, '"equal": float(', '"equal": np.float32(', "not JSON"),
    ("golden_case_is_answered", MODEL, "torch.relu(self.body(x))", "torch.tanh(self.body(x))", "features: off by"),
    ("golden_case_is_answered", MODEL, "self.head = ", "self.tail = ", "lacks head"),
]


@pytest.mark.parametrize(
    ("check", "file", "old", "new", "message"), WRONG, ids=[f"{n}-{w[0]}" for n, w in enumerate(WRONG)]
)
def test_a_wrong_plugin_is_caught(example, monkeypatch, check, file, old, new, message):
    example.change(file, old, new)
    if check == "gpu_equals_cpu":
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    result = example.check("tests", "-k", f"test_{check}")
    failed = {report.nodeid.rpartition("::test_")[2].partition("[")[0] for report in result.reprec.getfailures()}
    assert failed == {check}, result.stdout.str()
    assert re.search(message, result.stdout.str()), result.stdout.str()


def test_each_check_has_a_plugin_that_it_catches():
    assert {row[0] for row in WRONG} == set(all_checks())


def test_the_right_plugin_passes_every_check(example):
    result = example.check("tests")
    passed, skipped, failed = result.reprec.listoutcomes()
    assert not failed, result.stdout.str()
    checked = {report.nodeid.rpartition("::test_")[2].partition("[")[0] for report in passed}
    assert checked >= set(all_checks()) - {"gpu_equals_cpu"}
    assert {report.nodeid.rpartition("[")[2] for report in skipped} <= {
        "example-giant]",
        "example-net]",
        "example-pointed]",
    }
