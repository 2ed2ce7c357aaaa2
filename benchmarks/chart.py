"""Draw the benchmark's tables as a picture."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple, Protocol

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"": "#6e7781", "http": "#54aeff", "https": "#0969da"}


class Measured(Protocol):
    """A row of the first table."""

    latencies: list[float]

    def rate(self, callers: int = 1) -> float:
        """Return the requests/s."""

    def cpu(self) -> float:
        """Return the CPU time in µs of a request."""


class Shared(Protocol):
    """A row of the second table."""

    latencies: list[float]

    def rate(self) -> float:
        """Return the requests/s."""

    def share(self) -> float:
        """Return how many introspections a request has caused."""


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


def draw(
    file: Path,
    rows: Mapping[tuple[str, str], Measured],
    sharing: Mapping[tuple[int, str, str], Shared],
) -> None:
    """Draw a bar of requests/s for each row of the tables, and its other figures beside it.

    The picture has a background of its own, so that it is readable on a light and a dark page, and
    is so narrow that it is readable on a phone.

    Args:
        file: where to write the SVG.
        rows: by name, and by how the introspection endpoint is reached.
        sharing: by callers, by whose tokens they have, and by what saves introspections.
    """
    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "", "font.size": 10})
    figure = Figure(figsize=(5.6, 9.5), facecolor="#f6f8fa", layout="constrained")
    above, below = figure.subplots(2, height_ratios=(15, 11))

    bars = [
        Bar(
            f"{name} {endpoint}".strip(),
            row.rate(),
            f"{1000 * median(row.latencies):.2f} ms · {row.cpu():,.0f} µs",
            COLOURS[endpoint],
            starts_group=endpoint != "https",
        )
        for (name, endpoint), row in rows.items()
    ]
    draw_bars(above, "One caller: requests/s,\nmedian latency, CPU time of a request", bars)
    bars = [
        Bar(
            f"{callers} at once, {name}",
            row.rate(),
            f"{1000 * median(row.latencies):.1f} ms · {row.share():.2f}",
            COLOURS["https" if name == "coalescing" else "http"],
            starts_group=name == "nothing",
        )
        for (callers, tokens, name), row in sharing.items()
        if tokens == "one"
    ]
    title = (
        "One token, and an endpoint that takes 5 ms:\n"
        "requests/s, median latency, introspections a request"
    )
    draw_bars(below, title, bars)

    below.set_xlabel(machine(), size=9, loc="left")
    figure.savefig(file, format="svg", bbox_inches="tight", pad_inches=0.2, metadata={"Date": None})


class Bar(NamedTuple):
    """One bar and what is written beside it."""

    name: str
    rate: float
    figures: str
    colour: str
    starts_group: bool


def draw_bars(axes: Axes, title: str, bars: list[Bar]) -> None:
    """Draw bars below each other."""
    most = max(bar.rate for bar in bars)
    names, place = {}, 0.0
    for bar in bars:
        place += 1.6 if bar.starts_group else 1
        axes.barh(place, bar.rate, height=0.9, color=bar.colour)
        text = f"{bar.rate:,.0f}/s · {bar.figures}"
        axes.text(bar.rate + most / 100, place, text, va="center")
        names[place] = bar.name
    axes.set_facecolor("none")
    axes.set_yticks([*names], [*names.values()])
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.set_xlim(0, most * 2.2)
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", x=-0.45)
