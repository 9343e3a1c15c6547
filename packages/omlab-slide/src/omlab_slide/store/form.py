"""The form of our store of bags."""

VERSION = 1
"""Of the form; a reader of another one says so."""
FACTS = "omlab_bag"
"""The attribute that makes a group a whole bag."""
PROGRESS = "omlab-progress.json"
"""What stands in a store that is not whole yet."""
