"""Hook implementations; imports nothing heavy."""

from omlab import Card, hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models() -> list[Card]:
    """CITE, CLIP without training, classifiers that upstream's code trained, and tiny ones for tests."""
    return read_cards(__package__, "model")


@hookimpl
def omlab_datasets() -> list[Card]:
    """PatchGastricADC22."""
    return read_cards(__package__, "dataset")
