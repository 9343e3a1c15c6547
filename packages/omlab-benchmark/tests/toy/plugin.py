"""Hooks of the toy plugin."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads() -> list[Card]:
    return read_cards(__package__, "payload")


@hookimpl
def omlab_models() -> list[Card]:
    return read_cards(__package__, "model")


@hookimpl
def omlab_datasets() -> list[Card]:
    return read_cards(__package__, "dataset")


@hookimpl
def omlab_adapters() -> list[Card]:
    return read_cards(__package__, "adapter")
