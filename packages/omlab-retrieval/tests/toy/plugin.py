from omlab import hookimpl, read_cards

OMLAB_HOOK_API = 2


@hookimpl
def omlab_payloads():
    return read_cards(__package__, "payload")


@hookimpl
def omlab_formats():
    return read_cards(__package__, "format")


@hookimpl
def omlab_models():
    return read_cards(__package__, "model")
