"""Mixers that look at one token."""

from .dense import Mlp
from .experts import ExpertChoice, Experts
from .pattention import Pattention
from .routed import RoutedLinear

__all__ = ["ExpertChoice", "Experts", "Mlp", "Pattention", "RoutedLinear"]
