"""One call of a network as a program of its own: the question that its process asks in training, with inputs that have names. For torch.export and ONNX.

What a question always says in the same way (places, turns, lanes, documents) is written into the program; what changes is an input, with any number of rows:
ids (B, L, Q) whole numbers and vec (B, L, C), what each slot is fed; known (B, L), which of them are not hidden; time (B, 1 or L), the noise level, 1 is data;
turn, lane (B, L) and aim (B, L, A) where a process draws orders; and what the system is told, a class as a whole number (the number of classes: unsaid).
"""

from __future__ import annotations

import logging
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omniform.conditions.conditioning import ClassLabel
from omniform.core.errors import OmniformError, RecipeError
from omniform.core.net import Context
from omniform.core.query import Query
from omniform.system.facts import first_question
from omniform.system.system import System

_ROWS = 2
"""Rows of the question that is traced; the program takes any number."""
INPUTS: Mapping[str, str] = {
    "ids": "what each slot is fed, whole numbers (rows, tokens, codebooks)",
    "vec": "what each slot is fed, numbers (rows, tokens, channels)",
    "known": "which of them are not hidden (rows, tokens)",
    "turn": "when each is said (rows, tokens)",
    "lane": "0 for what all may read, else the draft that it belongs to (rows, tokens)",
    "aim": "the place that each answers about (rows, tokens, axes)",
    "time": "the noise level, 1 is data (rows, 1 or tokens)",
}


def _reason(error: Exception) -> str:
    """Somebody's error in a few words on one line, without colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:200] or type(error).__name__


def _asked(system: System) -> Query:
    """The first question of training, about tokens that say nothing (zeros)."""
    tokens = system.codec.space.blank(_ROWS, device=system.device)
    own = lambda x: None if x is None else x.contiguous().clone()  # noqa: E731  a row each, which a process may draw for
    try:
        return first_question(system, replace(tokens, ids=own(tokens.ids), vec=own(tokens.vec)))
    except OmniformError:
        raise
    except Exception as error:
        raise RecipeError(f"{system.recipe.name} asks of more than its tokens, so there is no one call to export: {_reason(error)}") from error


class Call(nn.Module):
    """Inputs in the order of `example` -> what the answer's distribution holds, in the order of `outputs`."""

    def __init__(self, system: System):
        super().__init__()
        told = dict(system.conditioning.parts)
        for name, part in told.items():
            if not isinstance(part, ClassLabel):
                raise RecipeError(f"{system.recipe.name} is told {name} by {type(part).__name__}, and one call is exported where what is told is a class")
        self.network, self.conditioning, self.labels = system.network, system.conditioning, tuple(told)
        query = _asked(system)
        self.stage, self.pattern = query.stage, query.pattern
        said = {"ids": query.tokens.ids, "vec": query.tokens.vec, "time": query.time, "aim": query.aim}
        if not bool(query.known.all()):
            said["known"] = query.known
        if query.pattern == "any":
            said |= {"turn": query.turn, "lane": query.lane}
        self.example = {n: said[n].contiguous().clone() for n in INPUTS if said.get(n) is not None}
        self.example |= {n: torch.arange(len(query.known)) % part.classes for n, part in told.items()}
        one = lambda x: None if x is None else x[:1].contiguous().clone()  # noqa: E731  a row of its own: no view is written
        tokens = replace(query.tokens, ids=None, vec=None, **{n: one(getattr(query.tokens, n)) for n in ("coord", "kind", "doc")})
        rest = {n: one(getattr(query, n)) for n in ("known", "turn", "lane", "progress")}
        self.fixed = replace(query, tokens=tokens, time=None, aim=None, **rest)
        with torch.no_grad():
            self.outputs = tuple(_spoken(self._answer(self.example), system))

    def _answer(self, said: Mapping[str, Tensor]) -> Any:
        first = next(iter(said.values()))
        rows = first.shape[0]
        spread = lambda x: None if x is None else x[:1].expand(rows, *x.shape[1:])  # noqa: E731
        old = self.fixed.tokens
        tokens = replace(
            old,
            ids=said.get("ids"),
            vec=said.get("vec"),
            coord=spread(old.coord),
            kind=spread(old.kind),
            doc=spread(old.doc),
        )
        named = {n: said[n] for n in ("known", "turn", "lane", "time", "aim") if n in said}
        rest = {n: spread(getattr(self.fixed, n)) for n in ("known", "turn", "lane", "progress") if n not in named}
        context = self._context(said, rows)
        return self.network.open(context)(replace(self.fixed, tokens=tokens, **named, **rest)).distribution

    def _context(self, said: Mapping[str, Tensor], rows: int) -> Context:
        pooled: dict[str, Tensor] = {}
        for name in self.labels:
            row = self.conditioning.parts[name].table(said[name])
            for place in self.conditioning.places[name]:
                if place not in ("modulate", "add", "start"):
                    raise RecipeError(f"{name} enters as {place}, and one call is exported where a class modulates, is added, or starts a sequence")
                pooled[place] = pooled[place] + row if place in pooled else row
        return Context(rows, **pooled)  # type: ignore[arg-type]

    def forward(self, *said: Tensor) -> tuple[Tensor, ...]:
        made = self._answer(dict(zip(self.example, said, strict=True)))
        return tuple(getattr(made, n) for n in self.outputs)


def _spoken(made: Any, system: System) -> list[str]:
    """The tensors of a distribution by name; one that goes on with a network of its own is no one call."""
    held = vars(made)
    if any(isinstance(x, nn.Module) or callable(x) for x in held.values()):
        raise RecipeError(f"{system.recipe.name} answers with a head that draws by a network of its own ({type(made).__name__}), which is more than one call")
    names = [n for n, x in held.items() if isinstance(x, Tensor)]
    if not names:
        raise RecipeError(f"{system.recipe.name} answers with {type(made).__name__}, which holds no numbers to hand out; export another system")
    return names


def program_of(system: System) -> tuple[torch.export.ExportedProgram, Call]:
    """The call, traced once for any number of rows."""
    was = [m for m in system.modules() if m.training]
    system.eval()
    try:
        call = Call(system).eval()
        rows = torch.export.Dim("rows", min=1, max=1 << 16)
        shapes = {"said": tuple({0: rows} for _ in call.example)}
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(call, tuple(call.example.values()), dynamic_shapes=shapes), call
    except OmniformError:
        raise
    except Exception as error:
        raise RecipeError(f"{system.recipe.name} cannot be traced as one call: {_reason(error)}") from error
    finally:
        for module in was:
            module.training = True


def _described(call: Call) -> dict[str, Any]:
    """What goes in and what comes out."""
    def says(name: str, x: Tensor) -> dict[str, Any]:
        part = call.conditioning.parts[name] if name in call.labels else None
        of = INPUTS.get(name, "") if part is None else f"a class from 0 to {part.classes - 1}" + ("" if part.mean else f"; {part.classes} says nothing")
        return {"of": of, "shape": ["rows", *x.shape[1:]], "kind": str(x.dtype).removeprefix("torch.")}

    return {"stage": call.stage, "inputs": {n: says(n, x) for n, x in call.example.items()}, "outputs": list(call.outputs)}


def as_program(system: System) -> tuple[dict[str, Any], str]:
    """network.pt2, and call.json that says what goes in and comes out."""
    program, call = program_of(system)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "network.pt2"
        torch.export.save(program, place)
        data = place.read_bytes()
    opens = f'import torch\nnetwork = torch.export.load("FOLDER/network.pt2").module()\n{", ".join(call.outputs)}, = network({", ".join(call.example)})'
    return {"network.pt2": data, "call.json": _described(call)}, opens


def as_onnx(system: System) -> tuple[dict[str, Any], str]:
    """network.onnx (with its weights beside it where they are more than a file of it can hold), and call.json."""
    program, call = program_of(system)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = Path(folder) / "network.onnx"
        log = logging.getLogger("torch.onnx")
        level = log.level
        log.setLevel(logging.ERROR)  # that torchvision is not installed
        try:
            made = torch.onnx.export(program, input_names=list(call.example), output_names=list(call.outputs), dynamo=True, verbose=False)
        except ImportError as error:
            raise RecipeError(f"writing ONNX needs the packages onnx and onnxscript ({error}); pip install onnx onnxscript") from error
        except Exception as error:
            raise RecipeError(f"{system.recipe.name} cannot be written as ONNX: {_reason(error)}; write --to torch") from error
        finally:
            log.setLevel(level)
        assert made is not None
        large = sum(p.numel() * p.element_size() for p in system.network.parameters()) > 1_500_000_000
        made.save(place, external_data=large)
        files = {p.name: p.read_bytes() for p in sorted(Path(folder).iterdir())}
    said = ", ".join(f'"{n}": {n}' for n in call.example)
    opens = f'import onnxruntime\nnetwork = onnxruntime.InferenceSession("FOLDER/network.onnx")\n{", ".join(call.outputs)}, = network.run(None, {{{said}}})'
    return {**files, "call.json": _described(call)}, opens

