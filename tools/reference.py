"""Reference pages made from the code: cards from JSON Schema, commands from their help, Python from docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import click
from click.testing import CliRunner

from omlab.card_schema import json_schema
from omlab.cards import KINDS
from omlab.cli.app import build

MODULES = (
    "omlab",
    "omlab.session",
    "omlab.roles",
    "omlab.payloads",
    "omlab.cards",
    "omlab.errors",
    "omlab.progress",
    "omlab.weights",
    "omlab_volume.volume",
    "omlab_image.image",
    "omlab_image.transforms",
    "omlab_slide.slide",
    "omlab_prompts.prompts",
    "omlab_payloads.embedding",
    "omlab_payloads.classes",
    "omlab_payloads.scores",
    "omlab_payloads.boxes",
    "omlab_payloads.points",
    "omlab_benchmark.board",
    "omlab_benchmark.claims",
    "omlab_retrieval.neighbours",
    "omlab_retrieval.outlying",
    "omlab_measure.measurements",
    "omlab_measure.structures",
    "omlab_measure.measuring",
    "omlab_prompts.deriving",
    "omlab_train.recipe",
    "omlab_train.loop",
    "omlab_train.cache",
)
LONGEST_SIGNATURE = 90
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields):$")
_ENTRY = re.compile(r"^(\*{0,2}\w[\w.]*)(?: \([^)]*\))?: (.*)$")


def cards_page() -> str:
    """Every field of every kind of card."""
    parts = ["# Cards", "Each kind of card, as `omlab info` and the test kit check it."]
    definitions: dict[str, Any] = {}
    for kind in KINDS:
        schema = json_schema(kind)
        definitions |= schema.get("$defs", {})
        parts += [f"## [[{kind}]]", str(schema.get("description", "")), _fields(schema)]
    for name, schema in definitions.items():
        parts += [f"## {name}", str(schema.get("description", "")), _fields(schema)]
    return "\n\n".join(parts) + "\n"


def _fields(schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = [
        f"| `{name}` | {_type(field)} | {'yes' if name in required else _default(field)} |"
        for name, field in schema.get("properties", {}).items()
    ]
    return "\n".join(["| field | type | required, or default |", "|---|---|---|", *rows])


def _type(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return "one of " + ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_type(part) for part in field["anyOf"] if part.get("type") != "null")
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("type") == "object":
        patterns, others = list(field.get("patternProperties", {}).values()), field.get("additionalProperties")
        inner: Mapping[str, Any] = patterns[0] if patterns else others if isinstance(others, Mapping) else {}
        return f"table of {_type(inner)}"
    pattern = str(field.get("pattern", "")).replace("|", "\\|")
    return str(field.get("type", "any value")) + (f" like `{pattern}`" if pattern else "")


def _default(field: Mapping[str, Any]) -> str:
    return f"`{field['default']!r}`" if field.get("default") is not None else "-"


def cli_page() -> str:
    """The help of every command, as it is shown."""
    app = build()
    parts = [
        "# Command line",
        "What `omlab COMMAND --help` says, for every command that is installed in this workspace.",
    ]
    for words in _commands(app, click.Context(app), ()):
        shown = CliRunner().invoke(app, [*words, "--help"], prog_name="omlab", env={"COLUMNS": "80"}, color=False)
        if shown.exception is not None and not isinstance(shown.exception, SystemExit):
            raise shown.exception
        parts += [f"## {' '.join(['omlab', *words])}", f"```text\n{shown.output.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _commands(command: click.Command, context: click.Context, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from _commands(below, click.Context(below, parent=context, info_name=name), (*words, name))


def api_page() -> str:
    """The public names of the modules that a plugin writer or a user of Python needs."""
    parts = ["# Python"]
    for name in MODULES:
        module = import_module(name)
        parts += [f"## {name}", _text(module.__doc__)]
        for public, thing in _public(module):
            parts += _entry(name, public, thing)
    return "\n\n".join(part for part in parts if part) + "\n"


def _public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in getattr(module, "__all__", None) or list(vars(module)):
        thing = getattr(module, name)
        documented = inspect.isclass(thing) or inspect.isfunction(thing) or isinstance(thing, partial)
        own = hasattr(module, "__all__") or getattr(thing, "__module__", "") == module.__name__
        if documented and own and not name.startswith("_"):
            yield name, thing


def _entry(module: str, name: str, thing: Any) -> Iterator[str]:
    if module == "omlab" and thing.__module__ in MODULES:
        yield f"### {module}.{name}"
        yield f"See [{thing.__module__}](#{_anchor(thing.__module__)})."
        return
    yield f"### {module}.{name}"
    if not (inspect.isclass(thing) and issubclass(thing, Exception)):
        yield f"```python\n{name}{_signature(thing)}\n```"
    if isinstance(thing, partial):
        bound = ", ".join(f"`{value}`" for value in thing.args)
        yield f"As `{module}.{thing.func.__name__}` with {bound} for its first argument."
        return
    yield _text(thing.__doc__)
    if inspect.isclass(thing):
        for method, function in vars(thing).items():
            plain = function.fget if isinstance(function, property) else function
            if not method.startswith("_") and inspect.isfunction(plain) and plain.__doc__:
                signature = "" if isinstance(function, property) else _signature(function)
                yield f"```python\n{name}.{method}{signature}\n```"
                yield _text(plain.__doc__)


def _anchor(module: str) -> str:
    return module.replace(".", "")


def _signature(thing: Any) -> str:
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return "(...)"
    shown = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(signature)).replace("self, ", "").replace("(self)", "()")
    if len(shown) > LONGEST_SIGNATURE:
        rows = [re.sub(r"(: )'([^']*)'", r"\1\2", str(row)) for row in signature.parameters.values()]
        keyword = next((n for n, row in enumerate(signature.parameters.values()) if row.kind is row.KEYWORD_ONLY), None)
        if keyword is not None:
            rows.insert(keyword, "*")
        end = shown[shown.rindex(")") :] if "->" in shown else ")"
        shown = "(\n" + "".join(f"    {row},\n" for row in rows if row != "self") + end
    return "" if shown == "(*args, **kwargs)" else shown


def _text(docstring: str | None) -> str:
    """A docstring in Google style as Markdown: sections become lists."""
    lines: list[str] = []
    section = False
    for line in inspect.cleandoc(docstring or "").splitlines():
        if _SECTION.match(line):
            section = True
            lines += ["", f"**{line.removesuffix(':')}**", ""]
            continue
        if section and line and not line.startswith(" "):
            section = False
        entry = _ENTRY.match(line.strip()) if section and line.startswith("    ") and line[4:5] != " " else None
        if entry:
            lines.append(f"- `{entry.group(1)}`: {entry.group(2)}")
        else:
            lines.append(f"  {line.strip()}" if section else line)
    return "\n".join(lines)


PAGES = {"reference/cards.md": cards_page, "reference/cli.md": cli_page, "reference/api.md": api_page}
