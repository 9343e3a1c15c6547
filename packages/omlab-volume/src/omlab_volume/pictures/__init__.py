"""Pictures of volumes and of what was found in them."""
