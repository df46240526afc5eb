"""Every recipe, shrunk until a contract takes a fraction of a second, and the questions that contracts ask of it.

A new recipe is under contract by being there: its leaves are shrunk by their names (width, depth, heads, steps, shape...).
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from omniform import recipes
from omniform.codecs.ids import Ids
from omniform.core.batch import Batch, Parts
from omniform.core.process import generate
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Tokens
from omniform.processes.autoregress import Autoregress
from omniform.processes.bijective import Bijective
from omniform.processes.blocks import Blocks
from omniform.processes.interleave import Interleave
from omniform.system.build import assemble, fitted
from omniform.system.recipe import Recipe

_AT = Path(__file__).with_name("probes.py")
_SPEC = importlib.util.spec_from_file_location("contract_probes", _AT)
assert _SPEC is not None and _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
PROBES: dict[str, Recipe] = _MODULE.PROBES

CLASSES = ("a", "b", "c", "d", "e")
WIDTH, HEADS = 32, 4
LEAVES: dict[str, Callable[[Any], Any]] = {
    "depth": lambda x: min(x, 2),
    "heads": lambda x: min(x, HEADS),
    "group": lambda x: (2,) * len(x),
    "window": lambda x: tuple(min(n, 2) for n in x),
    "context": lambda x: min(x, WIDTH) if isinstance(x, int) else x,
    "mixer_width": lambda x: min(x, WIDTH),
    "voxels": lambda x: min(x, 8),
    "latent_width": lambda x: min(x, WIDTH),
    "kv_heads": lambda x: None if x is None else min(x, 2),
    "head_width": lambda x: None if x is None else WIDTH // HEADS,
    "hidden": lambda x: min(x, WIDTH) if isinstance(x, int) and not isinstance(x, bool) else x,
    "maps": lambda x: min(x, 2) if isinstance(x, int) else x,
    "stages": lambda x: min(x, 2),
    "told": lambda x: min(x, WIDTH) if isinstance(x, int) else x,
    "size": lambda x: min(x, 4) if isinstance(x, int) else x,
    "run": lambda x: None if x is None else min(x, 4),
    "steps": lambda x: min(x, 5),
    "buffer": lambda x: min(x, 2),
    "codes": lambda x: min(x, 32),
    "temperature": lambda x: max(x, 0.2),  # what is drawn is drawn at random
    "scales": lambda x: (1, 2, 4)[-len(x) :],
    "dropout": lambda x: 0.0,
    "vocab": lambda x: min(x, 32) if isinstance(x, int) else x,
    "start": lambda x: None if x is None else 31,
    "stop": lambda x: None if x is None else 30,
    "token": lambda x: min(x, 8),
    "horizons": lambda x: (1, 2, 4),
    "in_time": lambda x: (*(False for _ in x[1:]), True),  # clips of three frames
}
"""What becomes of a leaf of that name. Rotary's head_width follows from WIDTH / HEADS."""


def published(name: str) -> Recipe:
    """A recipe of the project at "tiny", or one of ours."""
    return PROBES[name] if name in PROBES else recipes.get(name).sized("tiny")


def shrunk(name: str) -> Any:
    """The recipe made smaller, for a few classes."""
    recipe = published(name)
    shape = recipe.shape
    points = 1 if recipe.modality != "timeseries" else min(recipe.codec.args.get("token", 1), 8)
    if len(shape) == 2:  # points and their coordinates
        shape = (min(shape[0], 16), shape[1])
    else:
        shape = (min(shape[0], 16 * points),) if len(shape) == 1 else (*(min(n, 3) for n in shape[:-2]), 16, 16)
    recipe = recipe.but({"shape": shape})
    changes: dict[str, Any] = {}
    for part in ("codec", "network", "process"):
        spec = getattr(recipe, part)
        if spec is None:
            continue
        for path, value in spec.walk():
            leaf = path.rsplit(".", 1)[-1]
            if leaf == "width":
                changes[f"{part}.{path}"] = 8 if part == "codec" and recipe.network is not None else min(value, WIDTH)
            elif leaf == "context" and recipe.network is not None and value != recipe.network.args["width"]:
                continue  # as wide as the features that a condition gives
            elif leaf in LEAVES and not isinstance(value, Spec):
                changes[f"{part}.{path}"] = LEAVES[leaf](value)
    recipe = recipe.but(changes)
    return fitted(recipe, classes=CLASSES)


def stirred(system: Any, seed: int = 0) -> Any:
    """No weight left at zero, and conditions that are heard: nothing is equal because nothing is said."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in system.parameters():
            if not p.any():
                p.copy_(torch.randn(p.shape, generator=g) * 0.1)
        if not hasattr(system, "network"):
            return system
        for p in system.conditioning.parameters():
            p.copy_(torch.randn(p.shape, generator=g))
        for tower in system.network.towers.values():
            says = tower.head(torch.zeros(1, 1, system.network.width)).of(0)
            if hasattr(says, "logits") and not hasattr(says, "mean"):
                for p in tower.parameters():
                    if p.dim() > 1:
                        p.copy_(torch.randn(p.shape, generator=g) * 0.4)  # logits far apart: what is said decides what is drawn
    return system


def tensors(distribution: Any) -> list[torch.Tensor]:
    """Everything that a distribution is made of, (B, L, ...) each."""
    found: list[torch.Tensor] = []
    distribution.mapped(lambda x: found.append(x.detach()) or x)
    return found


class Silent:
    """A distribution that costs nothing: for training questions that are asked for their answers only."""

    exact = True

    def __init__(self, like: torch.Tensor):
        self.like = like

    def nll(self, target: Any, *, rng: Any) -> torch.Tensor:
        return torch.zeros(self.like.shape[:2])

    def at(self, places: slice) -> Any:
        return self

    def of(self, kind: int) -> Any:
        return self


class Witness:
    """A net that writes down what was asked and answered."""

    def __init__(self, net: Any, silent: bool = False):
        self.net, self.silent, self.seen, self.events = net, silent, [], []

    def __call__(self, query: Any, *, remember: bool = False) -> Answer:
        answer = self.net(query, remember=remember)
        self.seen.append((query, remember, tensors(answer.distribution)))
        self.events.append(self.seen[-1])
        return Answer(Silent(tensors(answer.distribution)[0]), answer.taps, answer.dues) if self.silent else answer

    def forget(self, turn: torch.Tensor) -> None:
        self.events.append(turn)
        self.net.forget(turn)

    def fork(self, rows: torch.Tensor) -> Any:
        return Witness(self.net.fork(rows))


def alike(one: Tokens, other: Tokens, places: torch.Tensor | None = None, rel: float = 1e-4) -> None:
    """The same content: codes exactly, floats to rounding. Only where both are real (and in places)."""
    where = one.real & other.real if places is None else places
    assert torch.equal(one.real, other.real) or places is not None
    if one.ids is not None:
        assert torch.equal(one.ids[where], other.ids[where])
    if one.vec is not None:
        near(one.vec[where], other.vec[where], rel)


def near(one: torch.Tensor, other: torch.Tensor, rel: float = 1e-4) -> None:
    """Equal to rounding, at the scale of the whole."""
    assert one.shape == other.shape
    assert torch.isfinite(one).all()
    scale = max(float(other.abs().max()), 1.0)
    assert float((one - other).abs().max()) <= rel * scale, f"differs by {float((one - other).abs().max()):.2e} at a scale of {scale:.2g}"


def differs(one: Tokens, other: Tokens, places: torch.Tensor | None = None) -> bool:
    """Whether the content is not the same."""
    where = one.real & other.real if places is None else places
    ids = one.ids is not None and not torch.equal(one.ids[where], other.ids[where])
    return ids or (one.vec is not None and float((one.vec[where] - other.vec[where]).abs().max()) > 1e-3)


@dataclass
class Case:
    """One recipe under contract."""

    name: str
    recipe: Any
    alike = staticmethod(alike)
    near = staticmethod(near)
    differs = staticmethod(differs)
    stirred = staticmethod(stirred)

    def fresh(self, seed: int = 0) -> Any:
        return assemble(self.recipe, seed=seed)

    @functools.cached_property
    def system(self) -> Any:
        """One for all contracts that only read."""
        return stirred(self.fresh()).eval()

    def raw(self, rows: int, seed: int = 1) -> Any:
        """Data as a user has it."""
        g = torch.Generator().manual_seed(seed)
        shape = self.recipe.shape
        if len(shape) > 1 or self.recipe.modality == "timeseries":
            pictures = torch.rand(rows, *shape, generator=g) * 2 - 1
            return Parts((["ab" + "c" * (i % 2) for i in range(rows)], pictures)) if "text" in self.recipe.codec.args else pictures
        ids = torch.randint(97, 120, (rows, shape[0]), generator=g)
        return ids % 30 if self.recipe.codec.make is Ids else ["".join(map(chr, row)) for row in ids.tolist()]

    def content(self, rows: int, seed: int = 2) -> Tokens:
        """Random tokens of the system's space."""
        g = torch.Generator().manual_seed(seed)
        space = self.system.codec.space
        blank = space.blank(rows)
        high = (1 << space.bits) if space.bits else min(space.vocab, default=0)
        high = high if space.stop is None else min(high, space.stop)  # nothing ends before its time
        ids = None if blank.ids is None else torch.randint(0, high, blank.ids.shape, generator=g)
        if ids is not None and hasattr(self.system.codec, "word"):  # words end now and then
            ids = torch.where(torch.rand(ids.shape, generator=g) < 0.3, self.system.codec.word, ids)
        return replace(blank, ids=ids, vec=None if blank.vec is None else torch.randn(blank.vec.shape, generator=g))

    def told(self, rows: int) -> dict[str, Any]:
        """Something said for every condition."""
        said: dict[str, Any] = {}
        for name, part in self.system.conditioning.parts.items():
            if hasattr(part, "usual"):
                said[name] = part.usual + torch.arange(rows)[:, None]
                continue
            said[name] = torch.arange(rows) % len(CLASSES) if hasattr(part, "classes") else [f"word {i}" for i in range(rows)]
        return said

    def raw_batch(self, rows: int) -> Batch:
        return Batch(self.raw(rows))

    def batch(self, rows: int, raw: bool = False) -> Batch:
        return Batch(self.raw(rows) if raw else self.content(rows), self.told(rows))

    def sample(self, num: int = 3, *, seed: int = 1, told: Mapping[str, Any] | None = None, **options: Any) -> Tokens:
        return self.system.generate(num, self.told(num) if told is None else told, seed=seed, decode=False, **options)

    @torch.no_grad()
    def watched(self, rows: int = 3, *, seed: int = 1, process: Any = None, events: bool = False, **options: Any) -> tuple[Tokens, list[Any]]:
        """A sample, and all that was asked on the way (events: and forgotten)."""
        system = self.system
        net = Witness(system.net(rows, self.told(rows), **options))
        tokens = generate(process or system.process, net, system.codec.space.blank(rows), rng=Rng.seeded(seed, rows))
        return tokens, net.events if events else net.seen

    def witness(self, rows: int, **options: Any) -> Witness:
        """A net for generation that writes down what it is asked."""
        return Witness(self.system.net(rows, self.told(rows), **options))

    @torch.no_grad()
    def replayed(self, events: list[Any], rows: int, **options: Any) -> list[Any]:
        """The same questions asked of another session: nothing that is drawn is fed back, so rounding does not grow."""
        net = Witness(self.system.net(rows, self.told(rows), **options))
        for event in events:
            if isinstance(event, torch.Tensor):
                net.forget(event)
            else:
                net(event[0], remember=event[1])
        return net.seen

    @torch.no_grad()
    def taught(self, ask: Callable[[Any], Any], rows: int, silent: bool = True) -> list[Any]:
        """All that `ask` asks of a network that remembers nothing. silent: the answers need not be scored."""
        system = self.system
        net = Witness(system.network.open(system.conditioning.context(self.told(rows), rows)), silent)
        ask(net)
        return net.seen


@functools.cache
def made(name: str) -> Case:
    return Case(name, shrunk(name))


def _process(name: str) -> type | None:
    spec = published(name).process
    return None if spec is None else spec.make


KINDS: dict[str, Callable[[str], bool]] = {
    "any_case": lambda name: True,
    "case": lambda name: _process(name) is not None,
    "codec_case": lambda name: _process(name) is None,
    "remembering": lambda name: _process(name) is not None and _process(name).memory == "kv",
    "ordered": lambda name: _process(name) is Autoregress,
    "blockwise": lambda name: _process(name) is Blocks,
    "bijective": lambda name: _process(name) is Bijective,
    "interleaved": lambda name: _process(name) is Interleave,
    "guided": lambda name: published(name).guidance is not None and bool(published(name).conditions),
}
"""Which recipes a contract is over, by the name of its argument."""


def pytest_generate_tests(metafunc: Any) -> None:
    for kind, holds in KINDS.items():
        if kind in metafunc.fixturenames:
            metafunc.parametrize(kind, [n for n in (*recipes.names(), *PROBES) if holds(n)], indirect=True)


def _of(kind: str) -> Any:
    @pytest.fixture(name=kind, scope="session")
    def one(request: Any) -> Case:
        return made(request.param)

    return one


for _kind in KINDS:
    globals()[f"_{_kind}"] = _of(_kind)
