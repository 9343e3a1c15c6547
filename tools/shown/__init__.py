"""Readers of the pages: what a page speaks of, drawn, so that a test runs the page's own commands.

A page names published weights, a server and a reader's own files. Small untrained models and drawn files stand in for
them; what is left out says why.
"""
