"""What relatives of a sequence say of its places, mixed into what a network says: retrieval at inference, without training."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.errors import BadArgument
from ..core.net import Net
from ..core.query import Answer, Query


def profile(relatives: Tensor, vocab: int, count: float = 1e-5, alike: float = 0.8, least: float = 0.2) -> Tensor:
    """(L, V) log-frequencies of codes in the columns of an alignment; NaN in a column where no relative has a code.

    relatives (S, L) long, the sequence itself first: the code that a relative has at each of the sequence's places, -1 for a gap. count: added to every code,
    for each relative. A relative weighs 1 over how many of them (itself among them) are equal to it in more than `alike` of its places; those equal to the
    sequence in less than `least` of theirs are left out. Source: Tranception (arXiv:2205.13760), appendix on retrieval, and the official code's msa_utils.
    """
    if relatives.dim() != 2 or not 0 <= least <= 1 or count <= 0 or int(relatives.max()) >= vocab:
        found = f"shape {tuple(relatives.shape)}, codes up to {int(relatives.max())}, count {count}"
        raise BadArgument(f"a profile is of codes (S, L) below {vocab}, -1 for gaps, with a count above 0; found {found}")
    here = relatives >= 0
    same = ((relatives[:, None] == relatives[None]) & here[:, None]).sum(-1) / here.sum(-1).clamp(min=1)[:, None]
    kept = same[:, 0] >= least
    kept[0] = True
    relatives, here, same = relatives[kept], here[kept], same[kept][:, kept]
    near = same > alike
    near.fill_diagonal_(True)
    weight = 1 / near.sum(1)
    each = torch.nn.functional.one_hot(relatives.clamp(min=0), vocab).double() * here[..., None] + count * here[..., None]
    total = (each * weight[:, None, None]).sum(0)
    return (total / total.sum(-1, keepdim=True)).log().float()  # 0 / 0 where nobody has a code


class Retrieved:
    """A net that answers (1 - share) log p + share log f of a place, f (L, V) being a `profile` of it; what the profile does not know is the net's alone
    (Tranception, arXiv:2205.13760, section 3.3: share 0.6). At share 0 it is the net, at 1 it is the profile.

    Which place is meant is a query's aim, else the token's own, along the first axis. The head must be of codes; its answer is scored as a distribution, where
    the official code leaves the mixture of logarithms as it is.
    """

    def __init__(self, net: Net, profile: Tensor, share: float = 0.6):
        if not 0 <= share <= 1:
            raise BadArgument(f"the share of what is retrieved is from 0 to 1, not {share}")
        self.net, self.profile, self.share = net, profile, share

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        answer = self.net(query, remember=remember)
        places = (query.tokens.coord if query.aim is None else query.aim)[..., 0].long()
        if int(places.max()) >= len(self.profile):
            raise BadArgument(f"the profile is of {len(self.profile)} places and place {int(places.max())} is asked for; align to the sequence that is meant")
        told = self.profile.to(places.device)[places][:, :, None]

        def mixed(logits: Tensor) -> Tensor:
            if logits.shape[-1] != told.shape[-1]:
                raise BadArgument(f"the profile is of {told.shape[-1]} codes and the answer of {logits.shape[-1]}; make it of the codec's vocabulary")
            log = logits.float().log_softmax(-1)
            return torch.where(told.isnan(), log, (1 - self.share) * log + self.share * told)

        return Answer(answer.distribution.mapped(mixed), answer.taps, answer.dues)

    def forget(self, turn: Tensor) -> None:
        self.net.forget(turn)

    def fork(self, rows: Tensor) -> Retrieved:
        return Retrieved(self.net.fork(rows), self.profile, self.share)
