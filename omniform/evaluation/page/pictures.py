"""Arrays as PNG pictures inside a page."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
import torch

from omniform.core.errors import ShapeError


def as_array(pictures: Any) -> np.ndarray:
    """(N, C, H, W) float32 on the CPU, from a tensor or an array of 3 or 4 axes, C being 1 or 3."""
    array = torch.as_tensor(pictures).detach().cpu().float().numpy()
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise ShapeError(f"expected pictures of shape (N, C, H, W) or (C, H, W) with 1 or 3 channels, found {array.shape}")
    return array


def to_bytes(array: np.ndarray) -> np.ndarray:
    """[-1, 1] as 0..255; beyond is clamped, what is not a number becomes mid grey."""
    return np.rint((np.nan_to_num(array, nan=0.0).clip(-1, 1) + 1) * 127.5).astype(np.uint8)


def sheet(array: np.ndarray, columns: int, *, gap: int = 1) -> np.ndarray:
    """(N, C, H, W) in [-1, 1] as one (H', W', C + 1) picture in reading order, transparent between the tiles."""
    num, channels, height, width = array.shape
    columns = max(1, min(columns, num))
    rows = -(-num // columns)
    page = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels + 1), np.uint8)
    tiles = to_bytes(array).transpose(0, 2, 3, 1)
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        page[y : y + height, x : x + width, :channels] = tile
        page[y : y + height, x : x + width, channels] = 255
    return page


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of (H, W, 1 to 4) bytes: grey, grey + alpha, colour, colour + alpha. Source: RFC 2083."""
    height, width, channels = pixels.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, width * channels)], axis=1)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    ]
    body = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def data_url(pixels: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")
