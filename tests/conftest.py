"""What every room's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


# ---- how far recipes have come: what the contracts find is written beside the catalogue -----------------------------

_CONTRACTS = Path(__file__).parent / "contracts"
_found: dict[str, dict[str, bool]] = {}
"""Recipe -> contract -> whether it held, of this run."""
_asked: dict[str, list[str]] = {}
"""Recipe -> its contracts, as collected; only where all files of contracts were."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session, items):
    """Before -k takes any away."""
    contracts = [item for item in items if item.path.parent == _CONTRACTS and getattr(item, "callspec", None)]
    if {item.path for item in contracts} == set(_CONTRACTS.glob("test_*.py")):
        for item in contracts:
            _asked.setdefault(item.callspec.id, []).append(item.originalname)


def pytest_runtest_logreport(report):
    if report.nodeid.startswith("tests/contracts/") and "[" in report.nodeid and (report.when == "call" or not report.passed):
        test, _, name = report.nodeid.rpartition("::")[2].rstrip("]").partition("[")
        _found.setdefault(name, {})[test] = report.passed


def pytest_sessionfinish(session):
    """A worker tells what it collected; the run as a whole writes what held."""
    worker = getattr(session.config, "workeroutput", None)
    if worker is not None:
        worker["contracts"] = _asked
        return
    from omniform import recipes

    for name in sorted(recipes.names()):
        told = _found.get(name, {})
        if not all(told.values()) or (told and set(told) == set(_asked.get(name, ()))):
            from omniform.catalogue.computing import contracted

            contracted(name, len(told) if all(told.values()) else None)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    for name, tests in getattr(node, "workeroutput", {}).get("contracts", {}).items():
        _asked[name] = tests
