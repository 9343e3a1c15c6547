"""`python -m omlab`: the command line, for torchrun and its like."""

from omlab.cli import main

main()
