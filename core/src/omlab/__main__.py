"""`python -m omlab`: the command line, for torchrun and its like."""

import os

from omlab.cli import main

# Before torch is imported: its C++ side would warn every process of a head without a gradient, which recipes say of
# themselves (`find_unused_parameters`). Errors are shown.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
main()
