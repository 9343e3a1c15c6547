"""How well scores rank the variants of proteins."""
