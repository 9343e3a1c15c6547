"""Rounds of propose, measure, refit: which mutants of a protein to measure next (`omlab design`)."""
