"""Hook implementations; imports nothing heavy."""

OMLAB_HOOK_API = 2
