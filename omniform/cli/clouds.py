"""What is generated and is no picture by itself, as files: clouds of points, atoms, motions, and texts with pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omniform.cli.pictures import file_of, in_folder, one_file, place_of_files

GAP = 0.2
"""Between clouds that lie side by side in a file, as a share of the widest (ours)."""
FORMATS = {"points": (".ply", ".obj", ".npz"), "atoms": (".xyz", ".npz"), "motion": (".npz",), "latents": (".npz",), "parts": (".png",)}
"""By what is written, the usual one first."""
_CALLED = {
    "points": "a cloud",
    "atoms": "atoms",
    "motion": "motion",
    "latents": "what an autoencoder makes pictures of",
    "parts": "a sequence of text and picture",
}


def kind_of(modality: str, shape: Sequence[int]) -> str | None:
    """What examples of a modality are written as here; None: as pictures."""
    if modality in ("any", "motion"):
        return {"any": "parts"}.get(modality, modality)
    if modality in ("image", "video") and (len(shape) < 3 or shape[-3] not in (1, 3)):  # no colours: what an autoencoder would make pictures of
        return "latents"
    return None if modality != "three_d" else "points" if shape[-1] == 3 else "atoms"


def writer(out: Path, kind: str, labels: Sequence[Any] | None = None) -> Callable[[Any], list[str]]:
    """What writes points (N, P, 3), atoms (N, A, 13), motions (N, 1, channels, frames), latents (N, ...) or Parts of texts and pictures to one file or to a
    folder, motions there as a .csv each, a line a frame; labels: a row each, of which atoms need theirs.

    Refuses a place that cannot be written to, before anything is drawn.
    """
    whole = place_of_files(out, FORMATS[kind], _CALLED[kind])
    if kind == "parts":
        return lambda made: _parts(out, made.each[0], made.each[1], whole)
    if out.suffix == ".npz":
        return lambda made: [one_file(out, _arrays(made, kind, labels))]
    if kind == "latents":
        return lambda made: in_folder(out, [{".npz": _arrays(latent[None], kind, None)} for latent in made])
    if kind == "motion":
        return lambda made: in_folder(out, [{".csv": file_of(motion[0].T, enlarge=False)} for motion in made])
    if kind == "atoms":
        names = [str(x) for x in labels or ()]
        each = lambda made: [_xyz(rows, names[i % len(names)] if names else "") for i, rows in enumerate(made.tolist())]  # noqa: E731
        return lambda made: [one_file(out, "".join(each(made)).encode())] if whole else in_folder(out, [{".xyz": x.encode()} for x in each(made)])
    draw = _obj if out.suffix == ".obj" else _ply
    return lambda made: [one_file(out, draw(_spread(made)))] if whole else in_folder(out, [{".ply": _ply(x[None].tolist())} for x in made])


def _arrays(made: Any, kind: str, labels: Sequence[Any] | None) -> bytes:
    import numpy as np

    target = io.BytesIO()
    said = {"label": np.array([str(labels[i % len(labels)]) for i in range(len(made))])} if labels else {}
    np.savez_compressed(target, **{kind: made.numpy(), **said})  # type: ignore[arg-type]
    return target.getvalue()


def _spread(clouds: Any) -> list[list[list[float]]]:
    """Clouds side by side along x, each about its own middle."""
    low, high = clouds.amin(1), clouds.amax(1)
    step = (1 + GAP) * float((high - low)[:, 0].max())
    moved = clouds.clone()
    moved[..., 0] -= ((low + high) / 2)[:, None, 0]
    for number, cloud in enumerate(moved):
        cloud[:, 0] += number * step
    return moved.tolist()


def _ply(clouds: Sequence[Sequence[Sequence[float]]]) -> bytes:
    rows = [f"{x:.6g} {y:.6g} {z:.6g} {number}" for number, cloud in enumerate(clouds) for x, y, z in cloud]
    head = ["ply", "format ascii 1.0", f"element vertex {len(rows)}", *(f"property float {axis}" for axis in "xyz"), "property int sample", "end_header"]
    return "\n".join([*head, *rows, ""]).encode()


def _obj(clouds: Sequence[Sequence[Sequence[float]]]) -> bytes:
    lines = [line for number, cloud in enumerate(clouds) for line in (f"o sample{number}", *(f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in cloud))]
    return "\n".join([*lines, ""]).encode()


def _xyz(rows: Sequence[Sequence[float]], label: str) -> str:
    """One frame of extended XYZ, in Angstrom. A crystal's places are made of its fractions and its cell, which the second line says."""
    import torch

    from omniform.codecs.atoms import cell_matrix
    from omniform.data.atoms import ELEMENTS, KINDS

    real = [row for row in rows if round(100 * row[0]) > 0]
    symbols = [ELEMENTS[min(round(100 * row[0]), len(ELEMENTS)) - 1] for row in real]
    places, said = [[10 * x for x in row[1:4]] for row in real], "Properties=species:S:1:pos:R:3"
    if real and label in (KINDS[0], "0"):
        cell = torch.tensor(real[0][7:], dtype=torch.float64)
        edges = cell_matrix(10 * cell[None, :3], math.pi * cell[None, 3:])[0]
        places = (torch.tensor([row[4:7] for row in real], dtype=torch.float64) @ edges).tolist()
        said = f'Lattice="{" ".join(f"{x:.6f}" for x in edges.flatten().tolist())}" {said} pbc="T T T"'
    lines = [f"{symbol} {x:.6f} {y:.6f} {z:.6f}" for symbol, (x, y, z) in zip(symbols, places, strict=True)]
    return "\n".join([str(len(real)), f"{said} label={label}" if label else said, *lines, ""])


def _parts(out: Path, texts: Sequence[str], pictures: Any, whole: bool) -> list[str]:
    """A grid of pictures and a line a text beside it; or two files each."""
    if not whole:
        return in_folder(out, [{".png": file_of(p[None], enlarge=False), ".txt": t.encode()} for t, p in zip(texts, pictures, strict=True)])
    lines = "".join(" ".join(text.split()) + "\n" for text in texts)
    return [one_file(out, file_of(pictures, enlarge=True)), one_file(out.with_suffix(".txt"), lines.encode())]
