from omlab_testkit.example_data import example_data
from omlab_text.testing import example_talks


def data(card, recipe):
    """Chats with answers."""
    return example_data([{"chat": chat} for chat in example_talks()], None)
