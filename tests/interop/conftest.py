"""Originals to compare with: modules of other libraries with random weights, and files made of them here."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _quiet():
    """Other people's warnings about their own insides are not ours."""
    import warnings

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
