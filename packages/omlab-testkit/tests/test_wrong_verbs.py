"""The example plugin, broken in one place: checks of verbs say so."""

import pytest

CARDS, DATA, MODEL, OTHERS, POINTED, SIGNALS = (
    f"omlab_example/{name}" for name in ("cards.toml", "data.py", "model.py", "others.py", "pointed.py", "signals.py")
)
MARKED = "yield Marks(row(marks + shift, np.uint8), signal.step, signal.start)"
BUFFERED = """box = vars(self).setdefault("box", [None, None])
        box[:] = inputs["signal"], self._tensor(inputs["signal"])
        return box"""


WRONG = [
    (
        "result_is_what_the_card_says",
        MODEL,
        "row(drawn.numpy(), np.uint8), signal.step",
        "row(drawn.numpy(), np.uint8), 2.0",
        "in another space than its input",
    ),
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


def test_each_check_has_a_plugin_that_it_catches(checks_in):
    assert {row[0] for row in WRONG} == checks_in("verbs", "odd", "results", "streams", "prompts")


@pytest.mark.parametrize(
    ("check", "file", "old", "new", "message"), WRONG, ids=[f"{n}-{w[0]}" for n, w in enumerate(WRONG)]
)
def test_a_wrong_plugin_is_caught(caught, check, file, old, new, message):
    caught(check, file, old, new, message)
