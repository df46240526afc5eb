"""Mixers that look at other tokens."""

from .attention import Attention, CrossAttention
from .combiner import Combiner
from .compressed import CompressedAttention
from .features import FeatureAttention
from .linear import LinearAttention
from .pointwise import Pointwise
from .told import ToldAttention
from .windows import ProxyAttention, Windowed

__all__ = [
    "Attention",
    "Combiner",
    "CompressedAttention",
    "CrossAttention",
    "FeatureAttention",
    "LinearAttention",
    "Pointwise",
    "ProxyAttention",
    "ToldAttention",
    "Windowed",
]
