"""Attention within windows of tokens, every second time shifted by half a window, as PCT-Net's weights need it."""
