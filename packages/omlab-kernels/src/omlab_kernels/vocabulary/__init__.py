"""Log-probabilities, entropy and cross-entropy over a large vocabulary, from hidden states and an output matrix."""
