"""D-LMBmap: axons, brain regions and registration of light-sheet microscopy."""

__version__ = "0.1.0"
