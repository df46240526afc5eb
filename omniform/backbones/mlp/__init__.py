"""Mixers that look at one token."""

from .dense import Mlp
from .experts import Experts

__all__ = ["Experts", "Mlp"]
