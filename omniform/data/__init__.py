"""Data: small real sets that ship or can be fetched, and folders of one's own.

Importing this loads neither torch nor numpy nor matplotlib.
"""

from __future__ import annotations

from omniform.data.cache import cache_dir
from omniform.data.catalog import describe, names, open_data
from omniform.data.dataset import Dataset, Split, order
from omniform.data.packages import fetch, fetched

__all__ = ["Dataset", "Split", "cache_dir", "describe", "fetch", "fetched", "names", "open_data", "order"]
