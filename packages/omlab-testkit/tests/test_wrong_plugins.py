"""The example plugin passes every check; broken in one place it fails the check that is there for it."""

import re
from importlib import import_module

import pytest

from omlab_testkit.checks import all_checks

pytest_plugins = ["pytester"]
for heavy in ("torch._dynamo", "safetensors.torch", "omlab.weights"):
    import_module(heavy)  # once and here: the runs below forget what they import

CARDS, MODEL, RECIPES, OTHERS, POINTED, DATA, ADAPTERS, SIGNALS, PLUGIN = (
    f"omlab_example/{name}"
    for name in (
        *("cards.toml", "model.py", "recipes.py", "others.py", "pointed.py"),
        *("data.py", "adapters.py", "signals.py", "plugin.py"),
    )
)
EXAMPLES, PARITY, SUMS = "tests/examples.py", "tests/parity.py", "tests/golden/sums.json"
MARKED = "yield Marks(row(marks + shift, np.uint8), signal.step, signal.start)"
LOADED = "            return json.loads(done.read_text())\n"
BUFFERED = """box = vars(self).setdefault("box", [None, None])
        box[:] = inputs["signal"], self._tensor(inputs["signal"])
        return box"""

CARD = [
    ("plugin_answers_with_cards", PLUGIN, "OMLAB_HOOK_API = 2", "OMLAB_HOOK_API = 7", "incompatible"),
    (
        "plugin_answers_with_cards",
        PLUGIN,
        "from omlab import",
        "import no_such_module\nfrom omlab import",
        "no_such_mod",
    ),
    ("plugin_answers_with_cards", CARDS, "[[evaluator]]", "[[judge]]", "has a table 'judge'"),
    ("names_are_unique", CARDS, '"example-giant"', '"example-net"', "2 model cards called 'example-net'"),
    ("listing_imports_nothing_heavy", PLUGIN, "from omlab import", "import numpy\nfrom omlab import", "imports numpy"),
    ("card_is_complete", CARDS, 'intended_use = "Testing the test kit."', "", "intended_use"),
    ("card_is_complete", CARDS, 'licence = "CC-BY-4.0"', "", "licence"),
    ("card_is_complete", CARDS, 'licence = "CC-BY-4.0"', 'licence = "unknown"', "first.licence is 'unknown'"),
    ("card_is_complete", CARDS, "size = 1000", "", "size"),
    ("card_is_complete", CARDS, 'grid = "signal"', 'grid = "volume"', "grid names 'volume'"),
    ("settings_have_valid_defaults", CARDS, "default = 3", 'default = "3"', "'3' is not of the type int"),
    ("settings_have_valid_defaults", CARDS, "default = 3", "default = 0", "outside 1"),
    ("settings_have_valid_defaults", CARDS, "default = 3", "default = 3\nchoices = [1, 2]", "not among the choices"),
    ("settings_have_valid_defaults", CARDS, "default = 1\nminimum = 0", "default = true", "option of predict 'shift'"),
    ("settings_have_valid_defaults", CARDS, "default = 50", "default = 0.5", "setting of the recipe marks 'rounds'"),
    ("kinds_are_known", CARDS, 'signal = "signal" }', 'signal = "signals" }', "did you mean 'signal'"),
    (
        "kinds_are_known",
        CARDS,
        'collects = ["note"]',
        'collects = ["notes"]',
        "what the format collects is of the kind",
    ),
    ("kinds_are_known", CARDS, 'judges = "marks"', 'judges = "crests"', "what it judges is of the kind 'crests'"),
    ("needs_name_other_models", CARDS, 'net = "example-net"', 'net = "example-duo"', "needs itself as its net"),
    ("needs_name_other_models", CARDS, 'net = "example-net"', 'net = "No Net"', "cannot be the name of a model"),
    ("advice_is_for_settings_that_are_there", CARDS, "patience = 2", "patence = 2", "did you mean 'patience'"),
    ("entry_can_be_called", CARDS, "omlab_example.model:load", "omlab_example.model:laod", "has no 'laod'"),
    ("entry_can_be_called", CARDS, "omlab_example.model:load", "omlab_example.models:load", "does not exist"),
    (
        "entry_can_be_called",
        MODEL,
        "import torch\n",
        "import torch\nimport no_such_module\n",
        "needs the Python package",
    ),
    ("entry_can_be_called", MODEL, "needs, device", "device", r"must take \(card, \*, weights, needs"),
    ("entry_can_be_called", DATA, "def open_waves(card, *, root", "def open_waves(card, *, place", "must take"),
    (
        "entry_can_be_called",
        SIGNALS,
        "def odd_signals(",
        "def odd_signals(kind",
        "odd of the payload 'signal' must take",
    ),
    ("weights_are_described", CARDS, 'name = "first.pth"', 'name = "first.safetensors"', "cannot have the wrapper"),
    ("weights_are_described", CARDS, "https://example.org/first.pth", "file:///home/me/first.pth", "one machine"),
    ("weights_are_described", CARDS, 'name = "body.pth"', 'name = "head.safetensors"', "two files of the same name"),
    ("format_card_is_true", DATA, "def write(self, payload", "def save(self, payload", "no method 'write'"),
    ("format_card_is_true", DATA, "def collect(", "def together(", "no method 'collect'"),
    ("format_card_is_true", DATA, "def index(", "def keys(", "no method 'index'"),
    ("format_card_is_true", CARDS, 'default_for = ["note"]', 'default_for = ["marks"]', "default for 'marks', which"),
]
PAYLOAD = [
    ("payload_is_of_its_kind", CARDS, "signals:Both", "signals:Note", "whose `kind` is 'both'"),
    ("payload_is_of_its_kind", SIGNALS, 'Note("one, two")', "Signal(row([1]))", "is a Signal of another kind"),
    ("payload_is_of_its_kind", SIGNALS, 'Note("THREE")', "Note(str(np.random.rand()))", "not the same each time"),
    ("payload_can_be_sent", SIGNALS, "    text: str\n", "    text: str\n    open: Any = lambda: 0\n", "cannot be sent"),
    ("payload_tells_the_truth", SIGNALS, "return int(self.array.nbytes)", "return 7", "says that it holds 7 bytes"),
    ("payload_tells_the_truth", SIGNALS, "np.isfinite(self.array).all()", "1", r"says is_finite\(\) = True"),
    ("payload_tells_the_truth", SIGNALS, "== other.array.shape and", "!= other.array.shape and", "its own grid"),
    ("payload_tells_the_truth", SIGNALS, "self.step == other.step", "self.step != other.step", "grid|space"),
    ("payload_tells_the_truth", SIGNALS, "return frozenset([", "return list([", "must be a frozenset"),
]
FORMAT = [
    ("bad_files_are_refused", DATA, "(OSError, ValueError, KeyError)", "(OSError, KeyError)", "JSONDecodeError"),
    ("bad_files_are_refused", DATA, 'f"{path} is not', 'f"This is not', "without naming"),
    (
        "bad_files_are_refused",
        DATA,
        "(OSError, ValueError, TypeError)",
        "(ValueError, TypeError)",
        "raises FileNotFoundError",
    ),
    ("what_is_written_can_be_read", DATA, '"step": payload.step', '"step": 1.0', "another grid"),
    ("what_is_written_can_be_read", DATA, "ravel().tolist()", "round(2).ravel().tolist()", "off by up to"),
    ("what_is_written_can_be_read", DATA, "return cls(", 'return CLASSES["signal"][0](', "comes back as signal"),
    (
        "what_is_written_can_be_read",
        DATA,
        '"start": payload.start',
        '"start": payload.array.sort(axis=0) or 0.0',
        "changes the",
    ),
    ("collected_results_are_read_by_key", DATA, "[id, packed", "[id[:3], packed", r"index\(\) of 'ex|no note"),
    ("collected_results_are_read_by_key", DATA, "return payload.text.encode()", "return payload.text", "gives a str"),
    ("collected_results_are_read_by_key", DATA, "text.encode()", "text.title().encode()", "does not keep the note of"),
    ("entries_are_read_by_key", DATA, "list(self._entries(path))", "[*self._entries(path)] * 2", "keys, each once"),
    ("entries_are_read_by_key", DATA, "if key not in entries:", "if False:", "KeyError"),
]
DATASET = [
    ("dataset_is_what_its_card_says", CARDS, '"train", "test"]', '"train", "val"]', "has the splits"),
    (
        "dataset_is_what_its_card_says",
        CARDS,
        'task = "marking"\nsplits',
        'task = "guessing"\nsplits',
        ".task of 'example-",
    ),
    ("dataset_is_what_its_card_says", DATA, "cases=count", "cases=count + 1", "says 4 cases, but there are 3"),
    (
        "dataset_is_what_its_card_says",
        DATA,
        'raise UsageError(f"There is',
        'raise KeyError(f"There is',
        "for an unknown s",
    ),
    ("dataset_is_what_its_card_says", DATA, "return problems", 'return ["all is bad"]', "finds itself damaged"),
    ("dataset_is_what_its_card_says", DATA, "exist_ok=True", "exist_ok=False", "FileExistsError|cannot be prepared"),
    (
        "samples_are_what_is_said_of_them",
        DATA,
        '{"signal": signal}, target',
        '{"wave": signal}, target',
        r"has the inputs",
    ),
    (
        "samples_are_what_is_said_of_them",
        DATA,
        "target=marks, group",
        "target=signal, group",
        "has a signal as its target",
    ),
    ("samples_are_what_is_said_of_them", DATA, "Sample(id=self.id", "Sample(id=self.group", "comes as 'patient-a'"),
    ("samples_are_what_is_said_of_them", DATA, '("a", "b", "c")', '("a", "b", "b")', "has two cases 'b'"),
    (
        "samples_are_what_is_said_of_them",
        DATA,
        "        return Sample(",
        "        signal.array[0] = np.random.rand()\n        return Sample(",
        "is another when it is read again",
    ),
    (
        "cases_can_be_sent",
        DATA,
        "return [\n            WaveCase(",
        "class Local(WaveCase):\n            pass\n\n        return [\n            Local(",
        "cannot be sent",
    ),
    (
        "about_and_digest_read_no_case",
        DATA,
        "count = len(self.cases(split))",
        "count = len([case.load() for case in self.cases(split)])",
        "opens a.signal.json before",
    ),
    (
        "about_and_digest_read_no_case",
        DATA,
        "(path.name, path.stat().st_size)",
        "path.read_text()",
        "before a case is loa",
    ),
    ("groups_never_cross_splits", DATA, 'f"patient-{id}"', '"patient-x"', "The group patient-x"),
    ("groups_never_cross_splits", DATA, '("d", "e")', '("c", "d")', "The group patient-c"),
    ("groups_never_cross_splits", DATA, '"test": ("d", "e")', '"test": ("c",)', "is in 'train' and in 'test'"),
    (
        "damage_is_found",
        DATA,
        "                problems.append(str(error))",
        "                continue",
        "does not find that",
    ),
    ("damage_is_found", DATA, "path.stat().st_size)", "len(path.name))", "is the same after a.signal.json was changed"),
    ("damage_is_found", DATA, "path.stat().st_size)", "id(self))", "digest of 'example-waves' is another one"),
]
VERB = [
    (
        "result_is_what_the_card_says",
        MODEL,
        "signal.step, signal.start)\n\n    @torch.no_grad()\n    def draw",
        "2.0)\n\n    @torch.no_grad()\n    def draw",
        "does not lie on the grid",
    ),
    ("result_is_what_the_card_says", CARDS, 'gives = "marks"\ngrid', 'gives = "signal"\ngrid', "promises a signal"),
    (
        "result_is_what_the_card_says",
        SIGNALS,
        "def example_signals():\n",
        "def example_signals():\n    return []\n",
        "no ex",
    ),
    (
        "promises_are_kept_by_something",
        SIGNALS,
        "    def same_grid(",
        "    def on_same_grid(",
        r"has one \(same_grid\)",
    ),
    (
        "same_again",
        MODEL,
        MARKED,
        MARKED.replace("marks + shift", "marks + torch.randint(9, ()).item()"),
        "not determin",
    ),
    (
        "same_again",
        MODEL,
        MARKED,
        f"signal.array[0] += 1\n            {MARKED}",
        "changes its inputs|not deterministic",
    ),
    (
        "same_again",
        MODEL,
        MARKED,
        "import contextlib, socket\n            with contextlib.suppress(OSError), socket.socket() as"
        f' s: s.connect(("127.0.0.1", 9))\n            {MARKED}',
        r"touches the network.*127\.0\.0\.1",
    ),
    (
        "batch_equals_one_at_a_time",
        MODEL,
        "for signal, tensor in batch:",
        "for signal, tensor in list(batch)[::-1]:",
        "in a",
    ),
    ("batch_equals_one_at_a_time", MODEL, MARKED, f"{MARKED}\n            return", r"1 results for 2 cases"),
    (
        "batch_equals_one_at_a_time",
        MODEL,
        "for signal, tensor in batch:",
        "torch.cat([tensor for _, tensor in batch])\n        for signal, tensor in batch:",
        "fails for 2 cases at once: RuntimeError",
    ),
    (
        "prepared_equals_direct",
        MODEL,
        'return inputs["signal"], self._tensor(inputs["signal"])',
        BUFFERED,
        "does not lie on the grid",
    ),
    (
        "prepared_equals_direct",
        MODEL,
        'return inputs["signal"], self._t',
        'inputs["signal"].array[0] = 9\n        return inputs["signal"], self._t',
        "changes the inputs",
    ),
    (
        "options_hold_for_one_call",
        MODEL,
        "manual_seed(seed)",
        "manual_seed(vars(self).setdefault('s', []).append(seed) or max(self.s))",
        "remembers seed=1",
    ),
    ("options_hold_for_one_call", POINTED, "range(1, clicks + 1)", "range(1, (clicks - 1 and clicks) + 1)", "clicks=1"),
    ("optional_inputs_may_be_left_out", OTHERS, ' if "more" in inputs else []', "", "a case without more"),
    (
        "gpu_equals_cpu",
        MODEL,
        "return Model(module.to(device)",
        "device == 'cuda' and module.register_forward_hook("
        "lambda module, inputs, output: -output)\n    return Model(module",
        "on a GPU differs",
    ),
    (
        "odd_inputs_work_or_are_refused",
        MODEL,
        "if not np.isfinite(signal.array).all():",
        "if len(signal.array) < 6 and 1 / 0:",
        "ZeroDivisionError",
    ),
    ("odd_inputs_work_or_are_refused", OTHERS, 'if not inputs["second"].is_finite():', "if False:", "NaN or infinite"),
    ("odd_inputs_work_or_are_refused", OTHERS, "yield InputError(", "raise SystemError(", "unexpected SystemError"),
    ("odd_inputs_work_or_are_refused", POINTED, "return InputError(", "assert False, (", "unexpected AssertionError"),
    ("result_can_be_written", CARDS, 'default_for = ["note"]', "", "No installed format writes a note"),
    (
        "result_can_be_written",
        DATA,
        'content = {"array"',
        'if payload.kind == "marks":\n            return\n        content = {"array"',
        "has written 0.sig.json, but has not",
    ),
    ("result_has_a_picture", SIGNALS, "def overlay(", "def draw(", r"has no overlay\(\)"),
    ("result_has_a_picture", SIGNALS, 'b"\\x89PNG', 'b"GIF89a', "is no PNG: it begins with b'GIF89a"),
    ("result_has_a_picture", SIGNALS, "+ self.array.tobytes()", "+ np.random.bytes(9)", "another one each time"),
    (
        "stream_ends_with_the_result",
        OTHERS,
        'yield Note(" ".join(words))',
        'yield Note("the end")',
        "ends with another res",
    ),
    ("stream_ends_with_the_result", OTHERS, 'yield Note(" ".join(words))', "pass", "streamed no result"),
    (
        "stream_ends_with_the_result",
        OTHERS,
        "            for word in words:\n",
        '            yield Note("")\n            for word in words:\n',
        "must be Deltas and then the result",
    ),
    (
        "closing_a_stream_cancels",
        OTHERS,
        "        finally:\n            self.busy = False",
        '        finally:\n            yield Note("more")',
        "does not end when it is closed",
    ),
    (
        "closing_a_stream_cancels",
        OTHERS,
        "        finally:\n",
        "            self.kept = words\n        except GeneratorExit:\n"
        "            self._words = lambda inputs, times: ['cut']\n            raise\n        finally:\n",
        "does not recover",
    ),
    (
        "prompts_move_with_the_image",
        POINTED,
        "at = round(point.at[0])",
        "at = min(round(point.at[0]), 25)",
        "not follow mov",
    ),
    (
        "voxels_and_world_say_the_same",
        POINTED,
        "prompts.in_voxels(signal.affine, ",
        "(prompts if prompts.space == 'voxel' else "
        "prompts.moved(np.diag([2.0, 1, 1, 1]), space='ras', image=None)).in_voxels(signal.affine, ",
        "to be elsewhere|outside",
    ),
    (
        "voxels_and_world_say_the_same",
        POINTED,
        "        voxels = prompts.in",
        "        prompts = prompts.model_copy(update="
        "{'space': prompts.space.replace('lps', 'ras')})\n        voxels = prompts.in",
        "in lps to be elsewhere|outside",
    ),
    ("simulated_clicks_can_be_repeated", POINTED, '"round": number', '"round": number - 1', r"are \[0, 1, 2\]"),
    (
        "simulated_clicks_can_be_repeated",
        POINTED,
        '"object": "crest"',
        '"object": "dip"',
        "is of 'dip', which is not cli",
    ),
    (
        "simulated_clicks_can_be_repeated",
        POINTED,
        "points=tuple(points)",
        "points=tuple(points[-1:])",
        "with 1 clicks for",
    ),
    (
        "simulated_clicks_can_be_repeated",
        POINTED,
        "Simulation(prediction=prediction",
        "Simulation(prediction=Marks(1 - prediction.array, signal.step)",
        "given as prompts to predict, come to another",
    ),
]
MODELS = [
    ("methods_are_there", MODEL, "def draw(", "def drawing(", "the verb 'draw' on its card, but no method"),
    ("methods_are_there", MODEL, "def predict(self, batch, /, *, shift=0)", "def predict(self, batch, /)", "must take"),
    ("methods_are_there", OTHERS, "def stream(", "def streams(", "has no method 'stream'"),
    ("methods_are_there", MODEL, "def layers(", "def blocks(", "has recipes on its card, but no layers"),
    ("parameters_are_counted_right", CARDS, "parameters = 26", "parameters = 27", "has 26 parameters, not 27"),
    (
        "loading_is_repeatable",
        MODEL,
        "module = Net(classes=classes)",
        "torch.seed()\n    module = Net(classes=classes)",
        "anoth",
    ),
    (
        "loading_is_repeatable",
        MODEL,
        "module = Net(classes=classes)",
        "import contextlib, socket\n    with contextlib.suppress("
        'OSError), socket.socket() as s: s.connect(("127.0.0.1", 9))\n    module = Net(classes=classes)',
        "touches the network",
    ),
    ("needs_are_taken_from_the_session", OTHERS, 'Duo(needs["net"])', "Duo(None)", "small models as its needs"),
    (
        "bad_weights_are_refused",
        MODEL,
        "    elif weights is not None:\n        weights.load(module)",
        "    elif weights:\n        weights.path().read_text().index('x')",
        "raises",
    ),
    (
        "bad_weights_are_refused",
        MODEL,
        "    elif weights is not None:\n",
        "    elif weights and weights.path().exists():\n",
        "raises|is accepted",
    ),
    ("layers_name_every_parameter_once", MODEL, ', ["head.weight", "head.bias"]]', "]", "does not name head.bias"),
    ("layers_name_every_parameter_once", MODEL, '"body.bias"]', '"body.bias", "neck.bias"]', "there is no neck.bias"),
    (
        "layers_name_every_parameter_once",
        MODEL,
        '"body.bias"]',
        '"body.bias", "head.bias"]',
        "more than once head.bias",
    ),
    ("saved_model_comes_back", MODEL, '{"classes": self.classes}', '{"classes": torch.tensor(2)}', "not JSON"),
    ("saved_model_comes_back", MODEL, 'config["classes"] if config', "3 if config", "cannot be built again"),
    (
        "saved_model_comes_back",
        MODEL,
        "elif weights is not None:\n        we",
        "elif weights is not None and not config:\n        we",
        "has other weights after",
    ),
    ("endpoint_keeps_its_rules", CARDS, "deterministic = false", "", "is called deterministic"),
    ("endpoint_keeps_its_rules", OTHERS, "{self.endpoint.key()}", "none", "without its key gives"),
    (
        "endpoint_keeps_its_rules",
        OTHERS,
        'Note(json.load(answer)["text"])',
        "Note(self.endpoint.key())",
        "shows its key",
    ),
]
RECIPE = [
    (
        "recipe_leaves_the_model",
        MODEL,
        "deepcopy(self.module)",
        "self.module",
        "changes the model that it is made from",
    ),
    (
        "recipe_leaves_the_model",
        MODEL,
        '        if recipe == "own":',
        '        torch.nn.init.zeros_(self.module.head.bias)\n        if recipe == "own":',
        r"recipe\(\) must leave it as it is",
    ),
    (
        "retargeted_model_does_what_it_says",
        CARDS,
        'target = "marks"\nloop',
        'target = "marks"\ngives = { sort = "marks" }\nloop',
        "has no method 'sort'",
    ),
    (
        "retargeted_model_does_what_it_says",
        CARDS,
        'target = "marks"\nloop',
        'target = "marks"\ngives = { predict = "note" }\nloop',
        "promises a note",
    ),
    ("recipe_has_its_parts", RECIPES, "def validate(", "def check(", "has no validate"),
    ("recipe_has_its_parts", RECIPES, "return 1 - step / self.steps", "return 1 - step", "the rate factor -"),
    ("recipe_has_its_parts", RECIPES, '"lr": 0.1, "weight', '"rate": 0.1, "weight', "lacks its 'lr'"),
    ("recipe_has_its_parts", RECIPES, 'f"marks-{rounds}-{seed}"', "str(id(self.batches))", "fingerprint of the recipe"),
    ("recipe_has_its_parts", RECIPES, "epoch, how = 2, None", "epoch, how = 0, None", "4 steps in epochs of 0"),
    (
        "recipe_has_its_parts",
        MODEL,
        "return MarksRecipe(self.module, pairs",
        "return MarksRecipe(deepcopy(self.module), pairs",
        "its module is another one",
    ),
    (
        "batches_are_a_function_of_seed_and_step",
        RECIPES,
        "        x, y = self",
        "        self.pairs.reverse()\n        x, y = self",
        "is another one",
    ),
    (
        "batches_are_a_function_of_seed_and_step",
        RECIPES,
        "    seed: int\n",
        "    seed: int\n    net: Any = nn.Linear(1, 1)\n",
        "holds a network, a Linear",
    ),
    (
        "batches_are_a_function_of_seed_and_step",
        RECIPES,
        "Batches(pairs, seed), 2",
        "(lambda n: pairs[n % 2]), 2",
        "cannot be s",
    ),
    (
        "one_step_trains",
        RECIPES,
        'self.module(batch["x"]), batch',
        'self.module(batch["x"]) / 0, batch',
        "not one finite",
    ),
    (
        "one_step_trains",
        RECIPES,
        'self.module(batch["x"]), batch',
        'self.module.head(self.module.features(batch["x"])), batch',
        "more of `module` than a call",
    ),
    ("one_step_trains", RECIPES, '"lr": 0.1, "weight', '"lr": 0.0, "weight', "changes no weight"),
    ("one_step_trains", RECIPES, 'return loss, {"half"', 'return loss, [] and {"half"', "mapping of figures"),
    ("own_loop_trains_and_resumes", RECIPES, "def run(", "def go(", "has no method 'run'"),
    (
        "own_loop_trains_and_resumes",
        RECIPES,
        "            descend(self.module",
        "            descend([], 0) or (self.module",
        "no weight",
    ),
    ("own_loop_trains_and_resumes", RECIPES, LOADED, "            return []\n", "does not go on from a folder"),
]
WEIGHTS = [
    (
        "checkpoint_loads_by_its_key_table",
        CARDS,
        'missing = ["head.*"]',
        'missing = ["heads.*"]',
        "no key of the network matches",
    ),
    ("checkpoint_loads_by_its_key_table", CARDS, 'dropped = ["projector.*"]', 'dropped = ["body.*"]', "wants 'body"),
    (
        "checkpoint_loads_by_its_key_table",
        MODEL,
        "        weights.load(module)\n",
        "        weights.state_dict()\n",
        "not been loa",
    ),
    (
        "checkpoint_loads_by_its_key_table",
        MODEL,
        'weights.load(module.head, "head',
        'weights.load(Net(classes=2).head, "head',
        "does not use",
    ),
    (
        "wrong_checkpoint_is_refused",
        MODEL,
        "        weights.load(module)\n",
        "        module.load_state_dict(weights.state_dict(), strict=False)\n",
        "raises|as if nothing were wrong",
    ),
    ("snapshot_loads", MODEL, 'weights.load(module, "model.safetensors")', "pass", "it has not been loaded"),
]
OTHER = [
    ("adapter_answers_its_role", ADAPTERS, "def restore(", "def load(", "no method 'restore'"),
    (
        "fitting_gives_the_same_again",
        ADAPTERS,
        "settings=settings, seed=seed)\n        history",
        "settings=settings, seed=len(folder.name))\n        history",
        "another model for the same seed",
    ),
    (
        "fitting_gives_the_same_again",
        ADAPTERS,
        "history = self._trained",
        "torch.nn.init.uniform_(target.module.head.bias)\n        history = self._trained",
        "another model for the same seed",
    ),
    ("fitting_gives_the_same_again", ADAPTERS, "config=target.config()", 'config={"model": target}', "not JSON"),
    (
        "fitting_gives_the_same_again",
        ADAPTERS,
        "model = base.trainable()",
        "model = base.session().model\n        model.module.body[0].bias.data += 1",
        "changes the model that it adapts",
    ),
    (
        "only_what_changed_is_kept",
        ADAPTERS,
        "save_state_dict(kept, tensors)",
        "kept.pop('body.0.weight'); save_state_dict({**kept, 'body.0.weight': before['body.0.weight']}, tensors)",
        "keeps 'body.0.weight', which is as it is in the base",
    ),
    (
        "restored_model_does_what_it_says",
        ADAPTERS,
        "def predict(",
        "def guess(",
        "says that it does 'predict', but has no such",
    ),
    ("restored_model_does_what_it_says", ADAPTERS, '"gives": "classes"}', '"gives": "scores"}', "promises a scores"),
    ("restored_model_does_what_it_says", ADAPTERS, "{**fitting, **stored}", "{**fitting}", "is right in"),
    ("interrupted_fit_goes_on", ADAPTERS, "if place.is_file():", "if False:", "begins anew"),
    (
        "interrupted_fit_goes_on",
        ADAPTERS,
        "                place.write_text(json.dumps(history))\n",
        "                place.write_text(json.dumps(history[:-1]))\n",
        "goes on to another model",
    ),
    (
        "interrupted_fit_goes_on",
        ADAPTERS,
        'task.module.state_dict(), folder / "state',
        'task.module.state_dict(), folder.parent / "state',
        "There is no weights file",
    ),
    ("evaluator_judges_examples", DATA, '"equal": float(', '"equal": np.float32(', "not JSON"),
    (
        "evaluator_judges_examples",
        DATA,
        'return [{"equal"',
        "self.turn = getattr(self, 'turn', 0) + 1\n        return [{'turn': self.turn, \"equal\"",
        "depend on other cases or on the turn",
    ),
    ("evaluator_reports", DATA, "low=mean", "low=mean + 1", "agreement is 1.0 in 2.0"),
    (
        "evaluator_reports",
        DATA,
        "mean = sum(values) / len(values)",
        "mean = values[0] + 0.1 * (list(rows)[0] == 'example-0')",
        "order of cases|agreement is",
    ),
    ("golden_file_is_answered", MODEL, "torch.relu(self.body(x))", "torch.tanh(self.body(x))", "features: off by"),
    ("golden_file_is_answered", MODEL, "self.head = ", "self.tail = ", "lacks head"),
    ("golden_file_is_answered", SUMS, '"sum": 4.0', '"sum": 4.1', "sum: off by 1.00e-01"),
    ("golden_file_is_answered", SUMS, '"sum": 4.0', '"sum": 4.0, "mean": 2.0', "does not know the part 'mean'"),
]
WRONG = [*CARD, *PAYLOAD, *FORMAT, *DATASET, *VERB, *MODELS, *RECIPE, *WEIGHTS, *OTHER]


def test_each_check_has_a_plugin_that_it_catches():
    assert {row[0] for row in WRONG} == set(all_checks())


@pytest.mark.parametrize(
    ("check", "file", "old", "new", "message"), WRONG, ids=[f"{n}-{w[0]}" for n, w in enumerate(WRONG)]
)
def test_a_wrong_plugin_is_caught(broken, monkeypatch, tmp_path, check, file, old, new, message):
    broken.change(file, old, new)
    if check == "gpu_equals_cpu":
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    found = broken.broken(check, tmp_path / "checked")
    assert found, "nothing is found"
    assert any(re.search(message, sentence) for sentence in found.values()), found


def test_the_right_plugin_passes_every_check(example):
    result = example.check("tests")
    passed, skipped, failed = result.reprec.listoutcomes()
    assert not failed, result.stdout.str()
    checked = {report.nodeid.rpartition("::test_")[2].partition("[")[0] for report in passed}
    assert checked >= set(all_checks()) - {"gpu_equals_cpu"}
    left = {report.nodeid.rpartition("::test_")[2] for report in skipped}
    assert all(name.startswith("gpu_equals_cpu") or "[example-giant" in name for name in left), left
