"""Attention whose bias is looked up in a table by the relative position of two tokens on a grid."""
