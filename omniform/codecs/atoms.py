"""Molecules and crystals as one latent token an atom (ADiT)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omniform.core.codec import LearnedCodec
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.net import Block, Context, Env
from omniform.core.process import Losses, dues_of
from omniform.core.query import visible
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space, Tokens

COLUMNS = 13
"""An atom's row: number / 100; x, y, z in nm; three fractions of the cell; the cell's three lengths in nm and its three angles in half turns."""
_ELEMENTS = 100
_SPOILT, _MOVED = 0.1, 0.01
"""What training hides of the numbers and moves of the places, and by how many nm (the official code: a tenth, by 0.1 Angstrom)."""
_PLACES, _ANGLES = 10.0, 10.0
"""What places and angles weigh beside a type's nats (the official code)."""


class _Read(NamedTuple):
    """A batch as the network has it: element (B, N) with 0 where there is no atom; place, fraction (B, N, 3); lengths in Angstrom and angles in radians (B, 3);
    crystal (B,) bool."""

    element: Tensor
    place: Tensor
    fraction: Tensor
    lengths: Tensor
    angles: Tensor
    crystal: Tensor

    @property
    def real(self) -> Tensor:
        return self.element > 0


def cell_matrix(lengths: Tensor, angles: Tensor) -> Tensor:
    """(B, 3) and (B, 3) radians -> (B, 3, 3): the rows are the cell's edges, a along x and b in the plane of x and y."""
    (ca, cb, cg), sg = angles.cos().unbind(-1), angles[..., 2].sin()
    zero, one = torch.zeros_like(ca), torch.ones_like(ca)
    x, y = cb, (ca - cb * cg) / sg
    rows = torch.stack([one, zero, zero, cg, sg, zero, x, y, (1 - x * x - y * y).clamp(min=0).sqrt()], -1).unflatten(-1, (3, 3))
    return rows * lengths[..., None]


def _turns(rng: Rng, rows: int) -> Tensor:
    """(B, 3, 3): a random rotation a row, of a random unit quaternion."""
    w, x, y, z = F.normalize(rng.normal((rows, 4)), dim=-1).unbind(-1)
    each = [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
            2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]  # fmt: skip
    return torch.stack(each, -1).unflatten(-1, (3, 3))


@final
class Atoms(LearnedCodec):
    """Atoms (N, 13) as N latent tokens, of molecules and of crystals alike (ADiT, Joshi et al. 2025, arXiv:2503.03965, section 3.1 and official code).

    A row is what COLUMNS says; a number of 0 is no atom (padding), a cell without a volume no crystal. A molecule's places are centred here; a
    crystal's are made of its fractions and its cell, whatever its row says of them. The cell is not read: it is answered, from the mean over atoms. Decoded
    are all columns, of which a molecule's reader takes the places and a crystal's the fractions and the cell.
    encoder, decoder: Blocks. positions: Specs of what both add to the stream for an atom's number. bottleneck: Spec of bottleneck.KL.
    Training turns each example, shifts crystals in their cell, and spoils a tenth of the numbers and of the places.
    """

    def __init__(self, shape: tuple[int, ...], width: int, encoder: Spec, decoder: Spec, bottleneck: Spec, positions: tuple[Spec, ...] = ()):
        super().__init__()
        if len(shape) != 2 or shape[1] != COLUMNS:
            raise BadArgument(f"Atoms expects a shape (atoms, {COLUMNS}) and found {tuple(shape)}; clouds of bare points go through Points")
        self.shape = tuple(shape)
        self.bottleneck = bottleneck.build(size=(shape[0], 1))
        self.space = Space(axes=(Axis("atom", shape[0]),), channels=self.bottleneck.channels, open=True)
        self.encoder, self.decoder = (part.build(width=width, space=self.space) for part in (encoder, decoder))
        self.positions = nn.ModuleList(part.build(width=width, space=self.space) for part in positions)
        self.element = nn.Embedding(_ELEMENTS, width)
        enter = lambda: nn.Sequential(nn.Linear(3, width, bias=False), nn.SiLU(), nn.Linear(width, width))  # noqa: E731
        self.place, self.fraction = enter(), enter()
        self.squeeze = nn.Linear(width, self.bottleneck.inputs, bias=False)
        self.spread = nn.Linear(self.bottleneck.channels, width, bias=False)
        self.to_element = nn.Linear(width, _ELEMENTS)
        self.to_place, self.to_fraction, self.to_cell = (nn.Linear(width, n, bias=False) for n in (3, 3, 6))

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        atoms = self._read(data)
        content = self.bottleneck.encode(self._latent(atoms, {}), rng)
        blank = self.space.blank(len(atoms.element), device=atoms.element.device)
        return Tokens(None, content.vec, blank.coord, blank.kind, torch.where(atoms.real, 0, -1))

    def decode(self, tokens: Tokens) -> Tensor:
        vec = tokens.vec
        if vec is None or vec.shape[1] > self.shape[0] or vec.shape[2] != self.space.channels:
            found = "no continuous content" if vec is None else f"content of shape {tuple(vec.shape)}"
            raise ShapeError(f"Atoms decodes (B, up to {self.shape[0]}, {self.space.channels}) and found {found}; give it tokens of its own space")
        short = self.shape[0] - vec.shape[1]
        real = F.pad(tokens.real, (0, short))
        latent = self.bottleneck.decode(Content(vec=F.pad(vec, (0, 0, 0, short))))
        element, place, fraction, cell = self._said(latent, real, {})
        number = 1 + element[..., 1:].argmax(-1, keepdim=True)
        size = real.sum(1).clamp(min=1)[:, None] ** (1 / 3)
        cell = torch.cat([cell[:, :3] * size / 10, cell[:, 3:] / math.pi], -1)[:, None].expand(-1, self.shape[0], -1)
        return torch.cat([number / _ELEMENTS, place, fraction.remainder(1), cell], -1) * real[..., None]

    def loss(self, data: Any, *, rng: Rng) -> tuple[Losses, ...]:
        clean = self._turned(self._read(data), rng.split("turned"))
        dues: dict[str, Tensor] = {}
        real, crystal = clean.real, clean.crystal[:, None]
        latent, cost = self.bottleneck(self._latent(self._spoilt(clean, rng.split("spoilt")), dues), int(real.sum()), rng)
        element, place, fraction, cell = self._said(latent, real, dues)
        size = real.sum(1).clamp(min=1)[:, None] ** (1 / 3)
        off = lambda said, meant: (said.float() - meant).square().mean(-1)  # noqa: E731
        walls = off(cell[:, :3], clean.lengths / size) + _ANGLES * off(cell[:, 3:], clean.angles)
        parts = {
            "main": F.cross_entropy(element.flatten(0, 1).float(), clean.element.flatten(), ignore_index=0, reduction="sum"),
            "place": _PLACES * (off(place, clean.place) * (real & ~crystal)).sum(),
            "fraction": _PLACES * (off(fraction, clean.fraction) * (real & crystal)).sum(),
            "cell": (walls[:, None] * (real & crystal)).sum(),  # an atom each, so that sums stay exact
        }
        count = real.sum().clamp(min=1)
        return (Losses({**parts, **cost, **dues_of(dues, count)}, count),)

    @torch.no_grad()
    def settle(self, data: Any) -> None:
        atoms = self._read(data)
        self.bottleneck.settle(self._latent(atoms, {})[..., 0].transpose(1, 2)[atoms.real].T[None, ..., None])

    def _read(self, data: Any) -> _Read:
        rows = self._checked(data)
        element = (rows[..., 0] * _ELEMENTS).round().long().clamp(0, _ELEMENTS - 1)
        real = (element > 0)[..., None]
        num = real.sum(1).clamp(min=1)
        cell = (rows[..., 7:] * real).sum(1) / num
        crystal = cell[:, :3].prod(-1) > 0
        lengths, angles = cell[:, :3].clamp(min=0) * 10, (cell[:, 3:] * math.pi).clamp(0.1, math.pi - 0.1)
        place = (rows[..., 1:4] - (rows[..., 1:4] * real).sum(1, keepdim=True) / num[:, None]) * real
        fraction = rows[..., 4:7] * (real & crystal[:, None, None])
        return self._placed(_Read(element, place, fraction, lengths, angles, crystal))

    @staticmethod
    def _placed(atoms: _Read) -> _Read:
        """The crystals' places, of their fractions."""
        inside = atoms.fraction @ (cell_matrix(atoms.lengths, atoms.angles) / 10)
        return atoms._replace(place=torch.where(atoms.crystal[:, None, None], inside, atoms.place))

    def _turned(self, atoms: _Read, rng: Rng) -> _Read:
        by = rng.split("shift").uniform((len(atoms.element), 1, 3)).to(atoms.place)
        inside = (atoms.real & atoms.crystal[:, None])[..., None]
        atoms = self._placed(atoms._replace(fraction=torch.where(inside, (atoms.fraction + by).remainder(1), atoms.fraction)))
        return atoms._replace(place=atoms.place @ _turns(rng.split("turn"), len(atoms.element)).to(atoms.place))

    @staticmethod
    def _spoilt(atoms: _Read, rng: Rng) -> _Read:
        hidden, moved = (rng.split(n).uniform(atoms.element.shape).to(atoms.place) < _SPOILT for n in ("hidden", "moved"))
        by = _MOVED * rng.split("by").normal(atoms.place.shape).to(atoms.place) * (moved & atoms.real)[..., None]
        return atoms._replace(element=torch.where(hidden, -atoms.element, atoms.element), place=atoms.place + by)

    def _latent(self, atoms: _Read, dues: dict[str, Tensor]) -> Tensor:
        """(B, inputs, N, 1): zeros, which cost nothing, where there is no atom. A hidden number is below 0."""
        real = atoms.element != 0
        x = self.element(atoms.element.clamp(min=0)) + self.place(atoms.place) + self.fraction(atoms.fraction)
        z = self.squeeze(self._through(self.encoder, x, real, dues)) * real[..., None]
        return z.transpose(1, 2).unsqueeze(-1)

    def _said(self, latent: Tensor, real: Tensor, dues: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, channels, N, 1) -> logits (B, N, 100), places and fractions (B, N, 3), lengths by the cube root of N and angles (B, 6)."""
        h = self._through(self.decoder, self.spread(latent[..., 0].transpose(1, 2)), real, dues)
        mean = (h * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        return self.to_element(h), self.to_place(h), self.to_fraction(h), self.to_cell(mean)

    def _through(self, tower: Block, x: Tensor, real: Tensor, dues: dict[str, Tensor]) -> Tensor:
        """A tower on the atoms of each example."""
        blank = self.space.blank(len(x), device=x.device)
        for part in self.positions:
            x = x + part(blank.coord)
        doc = torch.where(real, 0, -1)
        whole = bool(real.all())
        env = Env(
            coord=blank.coord, kind=blank.kind, turn=blank.kind, lane=blank.kind, doc=doc, known=real, modulation=None, context=Context(len(x)), record=None,
            remember=False, progress=torch.ones(len(x), device=x.device), pattern="full" if whole else "any",
            mask=None if whole else visible(blank.kind, blank.kind, doc)[:, None], dues=dues,
        )  # fmt: skip
        return tower(x, env)
