"""The gate of volumes and label maps: what is doubtful about an input before the network, and about its result."""
