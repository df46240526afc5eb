"""Clouds, atoms, and texts with pictures, typed: what is written says what was generated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import omniform as of
from omniform.cli import PROGRAM, clouds
from omniform.codecs.atoms import cell_matrix
from omniform.core.batch import Parts


def typed(*words):
    return CliRunner().invoke(PROGRAM, [str(w) for w in words])


@pytest.mark.parametrize("name, file", [("dit-3d", "x.ply"), ("dit-3d", "x.npz"), ("adit", "x.xyz"), ("transfusion", "x.png")])
def test_a_system_typed(name, file, tmp_path):
    of.save(of.build(name), tmp_path / "run")
    steps = ["--steps", 2] if name != "transfusion" else ["--steps", 1]
    done = typed("sample", tmp_path / "run", "-n", 2, *steps, "--out", tmp_path / file)
    assert done.exit_code == 0, done.output + done.stderr
    assert (tmp_path / file).stat().st_size > 100
    if file == "x.npz":
        assert np.load(tmp_path / file)["points"].shape[0] == 2
    if name == "transfusion":
        assert len((tmp_path / "x.txt").read_text().splitlines()) == 2
    wrong = typed("sample", tmp_path / "run", "--out", tmp_path / "x.gif")
    assert wrong.exit_code == 2 and "or a folder, not to a .gif" in wrong.stderr


def test_motions_typed(tmp_path):
    of.save(of.build("mmm"), tmp_path / "run")
    for out in ("x.npz", "each"):
        done = typed("sample", tmp_path / "run", "-n", 2, "--seed", 3, "--out", tmp_path / out)
        assert done.exit_code == 0, done.output + done.stderr
    made = np.load(tmp_path / "x.npz")["motion"]
    assert made.shape == (2, 1, 36, 64)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "each" / "0001.csv", delimiter=","), made[1, 0].T, rtol=1e-4, atol=1e-5)


def test_latents_typed(tmp_path):
    """A transformer of diffusers by itself makes what an autoencoder would make pictures of; the folder that it was exported to says where it is."""
    of.export(of.load("shipped:dit"), "diffusers", tmp_path / "out")
    said = typed("sample", tmp_path / "out", "-n", 1)
    assert said.exit_code == 2 and said.stderr.rstrip().endswith("write " + str(tmp_path / "out" / "transformer"))
    for out in ("x.npz", "each"):
        done = typed("sample", tmp_path / "out" / "transformer", "--label", 3, "-n", 2, "--steps", 2, "--out", tmp_path / out)
        assert done.exit_code == 0, done.output + done.stderr
    made = np.load(tmp_path / "x.npz")
    assert made["latents"].shape == (2, 4, 7, 7) and made["label"].tolist() == ["3", "3"]
    np.testing.assert_array_equal(np.load(tmp_path / "each" / "0001.npz")["latents"][0], made["latents"][1])
    wrong = typed("sample", tmp_path / "out" / "transformer", "--label", 3, "--out", tmp_path / "x.png")
    assert wrong.exit_code == 2 and "what an autoencoder makes pictures of goes to a .npz or a folder, not to a .png" in wrong.stderr


def test_points_lie_side_by_side_and_come_back(tmp_path):
    made = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(0))
    clouds.writer(tmp_path / "x.ply", "points")(made)
    head, body = (tmp_path / "x.ply").read_text().split("end_header\n")
    rows = np.array([[float(x) for x in line.split()] for line in body.splitlines()])
    assert "element vertex 15" in head and rows.shape == (15, 4)
    before = -np.inf
    for number in range(3):
        here, want = rows[rows[:, 3] == number][:, :3], made[number].numpy()
        np.testing.assert_allclose(here - here.mean(0), want - want.mean(0), atol=1e-4)
        assert here[:, 0].min() > before
        before = here[:, 0].max()
    clouds.writer(tmp_path / "x.obj", "points")(made)
    assert sum(line.startswith("v ") for line in (tmp_path / "x.obj").read_text().splitlines()) == 15
    files = clouds.writer(tmp_path / "each", "points")(made)
    np.testing.assert_allclose(np.loadtxt(files[1], skiprows=8)[:, :3], made[1].numpy(), atol=1e-4)


def test_a_molecule_and_a_crystal_in_angstrom(tmp_path):
    water = [[0.08, 0, 0, 0], [0.01, 0.096, 0, 0], [0.01, -0.024, 0.093, 0]]
    salt = [[0.11, 0, 0, 0], [0.17, 0.5, 0.5, 0.5]]
    rows = torch.zeros(2, 4, 13)
    rows[0, :3, :4] = torch.tensor(water)
    for i, (number, *fraction) in enumerate(salt):
        rows[1, i] = torch.tensor([number, 9, 9, 9, *fraction, 0.4, 0.5, 0.6, 0.5, 0.5, 1 / 3])
    clouds.writer(tmp_path / "x.xyz", "atoms", ["molecule", "crystal"])(rows)
    lines = (tmp_path / "x.xyz").read_text().splitlines()
    assert lines[0] == "3" and lines[1].endswith("label=molecule") and lines[2].split()[0] == "O"
    np.testing.assert_allclose([float(x) for x in lines[3].split()[1:]], [0.96, 0, 0], atol=1e-5)
    edges = cell_matrix(torch.tensor([[4.0, 5, 6]]), torch.tensor([[torch.pi / 2, torch.pi / 2, torch.pi / 3]]))[0]
    lattice = [float(x) for x in lines[6].split('"')[1].split()]
    np.testing.assert_allclose(lattice, edges.flatten().numpy(), atol=1e-4)
    assert lines[5] == "2" and [line.split()[0] for line in lines[7:]] == ["Na", "Cl"]
    np.testing.assert_allclose([float(x) for x in lines[8].split()[1:]], 0.5 * edges.sum(0).numpy(), atol=1e-4)


def test_texts_and_pictures(tmp_path):
    made = Parts((["a cat\non a mat", "a dog"], torch.zeros(2, 1, 8, 8)))
    assert len(clouds.writer(tmp_path / "x.png", "parts")(made)) == 2
    assert (tmp_path / "x.txt").read_text() == "a cat on a mat\na dog\n"
    names = [p.name for p in sorted((tmp_path / "each").iterdir())] if clouds.writer(tmp_path / "each", "parts")(made) else []
    assert names == ["0000.png", "0000.txt", "0001.png", "0001.txt"] and (tmp_path / "each" / "0000.txt").read_text() == "a cat\non a mat"
