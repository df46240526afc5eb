"""A tokenizer of TiTok's real kind in the size of a test, for several test files."""

from omniform.interop.adopting import paper

_TOWERS = {f"codec.{tower}.{k}": 2 for tower in ("encoder", "decoder") for k in ("depth", "block.mixer.heads")}
_PIXELS = {"codes": 7, "channels": 5, "network.widths": (4, 4, 8, 8, 16), "network.groups": 2}


def small(size="L-32", codes=24):
    """Pictures of 32 x 48 through towers of two blocks, 16 wide with two heads."""
    changes = {"shape": (3, 32, 48), "codec.width": 16, "codec.bottleneck.codes": codes, **_TOWERS, **{f"codec.picture.{k}": v for k, v in _PIXELS.items()}}
    return paper("titok", size).but(changes, sizes={}, tiny={}, facts=())
