"""What a benchmark hands back, and the machine it ran on."""

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """One number: the median, and the smallest and largest of the repeats as `spread`. `goal` is empty where there is
    none.
    """

    name: str
    value: float
    unit: str
    spread: tuple[float, float]
    goal: str = ""

    @property
    def reached(self) -> bool | None:
        """None without a goal."""
        if not self.goal:
            return None
        sign, _, limit = self.goal.partition(" ")
        return self.value >= float(limit) if sign == ">=" else self.value <= float(limit)


def figure(name: str, values: Sequence[float], unit: str, goal: str = "") -> Figure:
    """Of repeated measurements."""
    return Figure(name, statistics.median(values), unit, (min(values), max(values)), goal)


def machine() -> dict[str, Any]:
    """What a reader needs to judge a figure."""
    names = [line for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
