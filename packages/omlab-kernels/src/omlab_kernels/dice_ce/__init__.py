"""Dice, cross-entropy and focal loss in one pass over the logits."""
