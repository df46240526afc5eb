"""Mixers that look at other tokens."""

from .attention import Attention, CrossAttention
from .compressed import CompressedAttention
from .linear import LinearAttention
from .told import ToldAttention
from .windows import ProxyAttention, Windowed

__all__ = ["Attention", "CompressedAttention", "CrossAttention", "LinearAttention", "ProxyAttention", "ToldAttention", "Windowed"]
