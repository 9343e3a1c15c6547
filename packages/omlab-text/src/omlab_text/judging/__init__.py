"""Judges: language models, here or at a server, that are asked about answers; every reply is kept, none asked twice."""
