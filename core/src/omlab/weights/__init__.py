"""Weights: one cache, one reader, one place that applies the card's rules, one way into a network.

Importing this is cheap; torch, safetensors, pydantic and the network libraries are imported where they are used.
"""

from __future__ import annotations

from omlab.identities import UNTRAINED
from omlab.weights.cache import cache_folder, cached, fetch, is_offline, place, remove, verify
from omlab.weights.checkpoint import read_state_dict, read_tensor
from omlab.weights.handed import Endpoint, Weights
from omlab.weights.module import read_module_state
from omlab.weights.resolve import LOCAL, offered, resolve
from omlab.weights.state import check_entries, depth_of, load_state_dict, save_state_dict

__all__ = [
    "LOCAL",
    "UNTRAINED",
    "Endpoint",
    "Weights",
    "cache_folder",
    "cached",
    "check_entries",
    "depth_of",
    "fetch",
    "is_offline",
    "load_state_dict",
    "offered",
    "place",
    "read_module_state",
    "read_state_dict",
    "read_tensor",
    "remove",
    "resolve",
    "save_state_dict",
    "verify",
]
