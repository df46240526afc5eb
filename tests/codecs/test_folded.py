"""Latents of clips in patches: each frame as a picture by itself, and nothing else."""
from __future__ import annotations

import pytest
import torch

from omniform.codecs.folded import Folded
from omniform.codecs.patch import Patches
from omniform.codecs.points import Points
from omniform.core.errors import BadArgument
from omniform.core.spec import Spec
from omniform.core.tokens import Axis

INNER = Spec(Patches, {"patch": 1})


def test_a_clip_is_folded_frame_by_frame():
    clip = torch.rand(2, 3, 2, 4, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole, one = Folded((3, 2, 4, 6), INNER, 2), Folded((2, 4, 6), INNER, 2)
    assert whole.space.axes == (Axis("frame", 3), Axis("y", 2), Axis("x", 3)) and whole.space.channels == one.space.channels == 8
    tokens = whole.encode(clip)
    for frame in range(3):
        alone, coord = one.encode(clip[:, frame]), tokens.coord.unflatten(1, (3, 6))[:, frame]
        assert torch.equal(tokens.vec.unflatten(1, (3, 6))[:, frame], alone.vec)
        assert torch.equal(coord[..., 1:], alone.coord) and bool((coord[..., 0] == frame).all())
    assert tokens.vec[1, 6 + 4, 2].item() == clip[1, 1, 0, 2, 3].item()  # frame 1, patch (1, 1), row 0 and column 1 of it, channel 0
    assert torch.equal(whole.decode(tokens), clip)


def test_what_does_not_fold_is_refused():
    with pytest.raises(BadArgument, match="4 x 6 does not divide into patches of 3"):
        Folded((3, 2, 4, 6), INNER, 3)
    with pytest.raises(BadArgument, match="grid of y and x, or of frame, y and x"):
        Folded((5, 3), Spec(Points), 2)
