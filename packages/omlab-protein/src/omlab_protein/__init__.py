"""Proteins: sequences, variants, their scores; FASTA, tables of mutants; the ESM network; ProteinGym's summary."""

__version__ = "0.1.0"
