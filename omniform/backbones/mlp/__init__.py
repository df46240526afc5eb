"""Mixers that look at one token."""

from .dense import Mlp
from .experts import Experts
from .pattention import Pattention
from .routed import RoutedLinear

__all__ = ["Experts", "Mlp", "Pattention", "RoutedLinear"]
