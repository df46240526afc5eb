"""Mixers that look at other tokens."""

from .attention import Attention, CrossAttention
from .linear import LinearAttention
from .windows import ProxyAttention, Windowed

__all__ = ["Attention", "CrossAttention", "LinearAttention", "ProxyAttention", "Windowed"]
