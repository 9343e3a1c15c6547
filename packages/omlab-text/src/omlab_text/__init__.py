"""Texts and chats: kinds, JSON lines, chat formats, and models that write, here or behind an endpoint."""

__version__ = "0.1.0"
