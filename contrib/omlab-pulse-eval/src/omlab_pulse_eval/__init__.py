"""Pairwise judging of chat models: schedule, judges, Elo and Bradley-Terry ratings, triage F1. No torch."""

__version__ = "0.1.0"
