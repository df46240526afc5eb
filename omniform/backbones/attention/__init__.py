"""Mixers that look at other tokens."""

from .attention import Attention, CrossAttention

__all__ = ["Attention", "CrossAttention"]
