"""Draw the benchmark's table as a picture."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Protocol

from matplotlib import rcParams
from matplotlib.figure import Figure

COLOURS = {"": "#6e7781", "http": "#54aeff", "https": "#0969da"}


class Measured(Protocol):
    """A row of the table."""

    latencies: list[float]

    def rate(self, callers: int = 1) -> float:
        """Return the requests/s."""

    def cpu(self) -> float:
        """Return the CPU time in µs of a request."""


def machine() -> str:
    """Return this machine's processor, Python and today's date."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        named = [line for line in information.read_text().splitlines() if "model name" in line]
        processor = named[0].partition(": ")[2] if named else processor
    return (
        f"{os.cpu_count()} cores of {processor}, Python {platform.python_version()}, "
        f"{datetime.date.today()}"
    )


def draw(file: Path, rows: Mapping[tuple[str, str], Measured]) -> None:
    """Draw a bar of requests/s for each row, and its other figures beside it.

    The picture has a background of its own, so that it is readable on a light and a dark page.

    Args:
        file: where to write the SVG.
        rows: by name, and by how the introspection endpoint is reached.
    """
    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "", "font.size": 11})
    figure = Figure(figsize=(10, 5.6), facecolor="#f6f8fa")
    axes = figure.subplots()
    axes.set_facecolor("none")
    most = max(row.rate() for row in rows.values())
    labels, place = {}, 0.0
    for (name, endpoint), row in rows.items():
        place += 1 if endpoint == "https" else 1.6
        axes.barh(place, row.rate(), height=0.9, color=COLOURS[endpoint])
        labels[place] = f"{name} {endpoint}".strip()
        text = f"{row.rate():,.0f}/s · {1000 * median(row.latencies):.2f} ms · {row.cpu():,.0f} µs"
        axes.text(row.rate() + most / 100, place, text, va="center")
    axes.set_yticks([*labels], [*labels.values()])
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.set_xlim(0, most * 1.4)
    axes.spines[:].set_visible(False)
    axes.set_title("Requests/s with one caller, median latency, CPU time of a request", loc="left")
    axes.set_xlabel(machine(), size=9, loc="left")
    figure.savefig(file, format="svg", bbox_inches="tight", pad_inches=0.2, metadata={"Date": None})
