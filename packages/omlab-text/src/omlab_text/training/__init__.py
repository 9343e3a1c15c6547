"""The mathematics of training language models: ranking losses, PPO, and log-probabilities over large vocabularies.

Functions of tensors; no loop, no model. They need omlab-text[local].
"""
