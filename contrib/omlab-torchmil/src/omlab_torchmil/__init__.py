"""The slide models of torchmil as models of omlab."""

__version__ = "0.1.0"
