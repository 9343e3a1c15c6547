"""A model that is pointed at what it shall mark, and clicks by itself."""

from omlab import hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models():
    return read_cards(__package__, "model")
