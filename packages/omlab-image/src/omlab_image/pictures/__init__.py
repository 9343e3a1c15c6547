"""Pictures of results over their images."""
