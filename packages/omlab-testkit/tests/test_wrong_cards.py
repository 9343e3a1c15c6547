"""The example plugin, broken in one place: checks of cards, kinds, formats and data sets say so."""

import pytest

CARDS, DATA, MODEL, PLUGIN, SIGNALS = (
    f"omlab_example/{name}" for name in ("cards.toml", "data.py", "model.py", "plugin.py", "signals.py")
)


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
WRONG = [*CARD, *PAYLOAD, *FORMAT, *DATASET]


def test_each_check_has_a_plugin_that_it_catches(checks_in):
    assert {row[0] for row in WRONG} == checks_in("plugin", "cards", "payloads", "formats", "datasets")


@pytest.mark.parametrize(
    ("check", "file", "old", "new", "message"), WRONG, ids=[f"{n}-{w[0]}" for n, w in enumerate(WRONG)]
)
def test_a_wrong_plugin_is_caught(caught, check, file, old, new, message):
    caught(check, file, old, new, message)
