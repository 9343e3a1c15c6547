from omlab import hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_models():
    return read_cards(__package__, "model")
