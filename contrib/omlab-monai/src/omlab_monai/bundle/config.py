"""The configuration of a MONAI bundle: JSON or YAML whose references are followed and whose expressions are read.

MONAI evaluates what stands behind `$`, as Python. Here such a text is parsed, and understood where it is one of a few
plain forms (numbers, texts, lists, arithmetic, choices by a flag, `torch.device(...)`, `X.to(...)`); the rest is one
sentence. Nothing of a file is ever run.

Source: MONAI's documentation of bundle configurations (references by `@`, parts by `#` or `::`, `_target_`,
`_disabled_`).
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from omlab.errors import WeightsError, first_line

_REFERENCE = re.compile(r"@(\w+(?:(?:::|#)\w+)*)")
_NO_DEVICE = "no device: omlab places the network"
_SUMS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}  # fmt: skip
_ORDERS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip


@dataclass(frozen=True)
class Component:
    """A class that a configuration names, with its arguments."""

    target: str
    arguments: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The class without its module."""
        return self.target.rpartition(".")[2]


@dataclass(frozen=True)
class Painting:
    """Which label a voxel gets: that of the first channel of these that is above 0 there, else 0.

    It is what `torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, 0))` says.
    """

    order: tuple[tuple[int, int], ...]


class Config:
    """One file, whose entries are resolved when they are asked for.

    Args:
        path: The file.

    Raises `WeightsError` where it cannot be read or is no configuration.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
            content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        except OSError as error:
            raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
        except (ValueError, yaml.YAMLError) as error:
            raise WeightsError(f"{path} is no configuration of a bundle ({first_line(error)}).") from error
        if not isinstance(content, dict):
            raise WeightsError(f"{path} is no configuration of a bundle: it holds a {type(content).__name__}.")
        self._content: dict[str, Any] = content
        self._open: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._content

    def value(self, name: str) -> Any:
        """An entry (`a::b::0` for a part) with its references followed. Raises `WeightsError`."""
        if name in self._open:
            raise WeightsError(f"{self.path}: '{name}' refers to itself.")
        self._open.append(name)
        try:
            return self._resolved(self.raw(name), name)
        finally:
            self._open.pop()

    def raw(self, name: str) -> Any:
        """An entry (`a::b::0` for a part) as it is written. Raises `WeightsError` where there is none."""
        found: Any = self._content
        for part in re.split(r"::|#", name):
            try:
                found = found[int(part)] if isinstance(found, list) else found[part]
            except (KeyError, IndexError, ValueError, TypeError):
                raise WeightsError(f"{self.path} has no entry '{name}'.") from None
        return found

    def _resolved(self, value: Any, name: str) -> Any:
        if isinstance(value, str):
            return self._text(value, name)
        if isinstance(value, list):
            return [self._resolved(part, name) for part in value]
        if isinstance(value, dict):
            parts = {key: self._resolved(part, f"{name}::{key}") for key, part in value.items()}
            if "_target_" in parts:
                arguments = {key: part for key, part in parts.items() if not str(key).startswith("_")}
                return None if parts.get("_disabled_") else Component(str(parts["_target_"]), arguments)
            return parts
        return value

    def _text(self, text: str, name: str) -> Any:
        whole = _REFERENCE.fullmatch(text)
        if whole:
            return self.value(whole[1])
        if not text.startswith("$"):
            return text
        references: dict[str, str] = {}

        def stand_in(match: re.Match[str]) -> str:
            references[f"reference_{len(references)}"] = match[1]
            return f"reference_{len(references) - 1}"

        try:
            tree = ast.parse(_REFERENCE.sub(stand_in, text[1:]).strip(), mode="eval").body
            return self._read(tree, references)
        except (_UnknownError, SyntaxError, TypeError, ArithmeticError):
            raise WeightsError(
                f"{self.path}: '{name}' is the expression {text!r}, which omlab does not run: write its value there."
            ) from None

    def _read(self, node: ast.expr, references: Mapping[str, str]) -> Any:
        def read(node: ast.expr) -> Any:
            return self._read(node, references)

        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name) if name in references:
                return self.value(references[name])
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [read(part) for part in parts]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -read(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not read(operand)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _SUMS:
                return _sum(sign, read(left), read(right))
            case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in _ORDERS:
                return _ORDERS[type(sign)](read(left), read(right))
            case ast.IfExp(test=test, body=body, orelse=other):
                return read(body) if read(test) else read(other)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="device")):
                return _NO_DEVICE
            case ast.Call(func=ast.Attribute(value=ast.Name(id="copy"), attr="deepcopy"), args=[copied]):
                return read(copied)
            case ast.Call(func=ast.Attribute(value=placed, attr="to")):
                return read(placed)
            case ast.Attribute(value=ast.Name(id="torch" | "numpy" | "np"), attr=kind):
                return kind
            case ast.Lambda(body=body):
                return Painting(tuple(_painted(body)))
        raise _UnknownError


def _sum(sign: ast.operator, left: Any, right: Any) -> Any:
    """Numbers in all ways; texts and lists are joined only."""
    if not isinstance(sign, ast.Add) and not all(isinstance(side, int | float) for side in (left, right)):
        raise _UnknownError
    return _SUMS[type(sign)](left, right)


class _UnknownError(Exception):
    """An expression of a form that is not understood."""


def _painted(node: ast.expr) -> Sequence[tuple[int, int]]:
    """Channels with their labels of nested `torch.where(x[[channel]] > 0, label, rest)`."""
    match node:
        case ast.Constant(value=0):
            return []
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="torch"), attr="where"),
            args=[
                ast.Compare(
                    left=ast.Subscript(slice=ast.List(elts=[ast.Constant(value=int(channel))])),
                    ops=[ast.Gt()],
                    comparators=[ast.Constant(value=0)],
                ),
                ast.Constant(value=int(label)),
                rest,
            ],
        ):
            return [(channel, label), *_painted(rest)]
    raise _UnknownError


def without_devices(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments but those that say where something is to be computed."""
    return {name: value for name, value in arguments.items() if value != _NO_DEVICE and "device" not in name}
