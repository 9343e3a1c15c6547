"""Any network of timm (PyTorch Image Models) as an encoder or classifier of medical images."""

__version__ = "0.1.0"
