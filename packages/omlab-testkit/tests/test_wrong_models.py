"""The example plugin, broken in one place: checks of models, recipes, weights, adapters and judges say so."""

import pytest

ADAPTERS, CARDS, DATA, MODEL, OTHERS, RECIPES = (
    f"omlab_example/{name}" for name in ("adapters.py", "cards.toml", "data.py", "model.py", "others.py", "recipes.py")
)
SUMS = "tests/golden/sums.json"
LOADED = "            return json.loads(done.read_text())\n"


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
WRONG = [*MODELS, *RECIPE, *WEIGHTS, *OTHER]


def test_each_check_has_a_plugin_that_it_catches(checks_in):
    assert {row[0] for row in WRONG} == checks_in("models", "recipes", "weights", "adapters", "evaluators", "golden")


@pytest.mark.parametrize(
    ("check", "file", "old", "new", "message"), WRONG, ids=[f"{n}-{w[0]}" for n, w in enumerate(WRONG)]
)
def test_a_wrong_plugin_is_caught(caught, check, file, old, new, message):
    caught(check, file, old, new, message)
