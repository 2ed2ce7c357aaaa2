"""Measure what checking an access token costs, compared with ZITADEL's Python sample.

All of it runs on this machine: the API under gunicorn with one worker process, an introspection
endpoint in another process, and the callers in this one. The second table shows what coalescing and
a cache save if that endpoint takes 5 ms.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import truediv
from pathlib import Path
from statistics import median

import coalescing
from harness import CALLERS, TOKEN, Caller, call_at_once, end_on_sigterm, serving_api

ROUNDS = 20  # each measures every row for a moment, so that a disturbance meets all of them
SAMPLE_SHARE = 5  # the sample's way gets one in so many requests, or the run would take minutes
ROUTES = {
    ("unprotected", ""): "/unprotected",
    ("cached", "http"): "/HTTP/cached",
    ("cached", "https"): "/HTTPS/cached",
    ("Basic", "http"): "/HTTP/basic",
    ("Basic", "https"): "/HTTPS/basic",
    ("private key JWT", "http"): "/HTTP/jwt",
    ("private key JWT", "https"): "/HTTPS/jwt",
    ("sample, Basic", "http"): "/HTTP/sample-basic",
    ("sample, Basic", "https"): "/HTTPS/sample-basic",
    ("sample, JWT", "http"): "/HTTP/sample-jwt",
    ("sample, JWT", "https"): "/HTTPS/sample-jwt",
}
HEAD = (
    "                          1 caller:            CPU µs:             8 callers:",
    "route            endpoint median ms requests/s a request the check requests/s"
    " requests connections signatures",
)
LINE = "{:<16} {:<8} {:>9.2f} {:>10.0f} {:>9.0f} {:>9.0f} {:>10.0f} {:>8} {:>11} {:>10}"


@dataclass
class Row:
    """A row of the table: a route, and what was measured. `rates` are requests/s by callers."""

    path: str
    latencies: list[float] = field(default_factory=list)
    rates: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    used: Counter[str] = field(default_factory=Counter)

    def rate(self, callers: int = 1) -> float:
        """Return the requests/s."""
        return median(self.rates[callers])

    def cpu(self) -> float:
        """Return the CPU time in µs that the API's process needs for a request."""
        return 1e6 * self.used["cpu"] / len(self.latencies)


Rows = dict[tuple[str, str], Row]  # by name, and how the introspection endpoint is reached


def measure(requests: int) -> Rows:
    """Call every route with one caller and with several, round after round."""
    rows = {route: Row(path) for route, path in ROUTES.items()}
    rounds = min(ROUNDS, requests // 10)
    with serving_api() as (api, upstream):
        callers = [Caller(api) for _ in range(CALLERS)]
        endpoint = Caller(upstream)

        def used() -> Counter[str]:
            connections = json.loads(endpoint.get("/counts"))["connections"]
            return Counter(json.loads(callers[0].get("/process")), connections=connections)

        for _ in range(rounds):
            for row in rows.values():
                count = requests // rounds // (SAMPLE_SHARE if "sample" in row.path else 1)
                before = used()
                latencies = call_at_once(callers[:1], row.path, [TOKEN] * count)
                row.used.update(used())
                row.used.subtract(before)
                row.latencies += latencies
                row.rates[1].append(count / sum(latencies))
                count = max(count, CALLERS)
                start = time.perf_counter()
                call_at_once(callers, row.path, [TOKEN] * count)
                row.rates[CALLERS].append(count / (time.perf_counter() - start))
    return rows


def table(rows: Rows) -> Iterator[str]:
    """Yield the lines of the table."""
    yield from HEAD
    for route, row in rows.items():
        yield LINE.format(
            *route,
            1000 * median(row.latencies),
            row.rate(),
            row.cpu(),
            row.cpu() - rows["unprotected", ""].cpu(),
            row.rate(CALLERS),
            len(row.latencies),
            row.used["connections"],
            row.used["signatures"],
        )


def goals(rows: Rows) -> Iterator[tuple[str, float, float]]:
    """Yield what the project wants to reach, how much of it at least, and what was reached."""
    for route, other, least in (
        (("private key JWT", "http"), ("sample, JWT", "http"), 10),
        (("Basic", "https"), ("sample, Basic", "https"), 3),
        (("cached", "http"), ("unprotected", ""), 0.8),
        (("cached", "https"), ("unprotected", ""), 0.8),
    ):
        for callers in (1, CALLERS):
            name = f"requests/s of {'/'.join(route)} to {other[0]}, {callers} at once"
            ratios = map(truediv, rows[route].rates[callers], rows[other].rates[callers])
            yield name, least, median(ratios)
    ours = [row for (name, _), row in rows.items() if name in ("Basic", "private key JWT")]
    fewest = min(len(row.latencies) / row.used["connections"] for row in ours)
    yield "requests on one connection", len(ours[0].latencies), fewest


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--requests",
        type=int,
        default=1000,
        help=f"one after another in each row; of the sample's way one in {SAMPLE_SHARE} "
        "(default: 1000)",
    )
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="draw the table as well")
    arguments = parser.parse_args()
    if not 10 <= arguments.requests <= 1_000_000:
        parser.error("--requests must be from 10 to 1000000")
    if arguments.chart:
        from chart import draw  # which needs matplotlib
    end_on_sigterm()
    rows = measure(arguments.requests)
    print(*table(rows), "", sep="\n")
    sharing = coalescing.measure(arguments.requests)
    print(*coalescing.table(sharing), sep="\n")
    print("\nGoals" + (" (meaningless with so few requests)" * (arguments.requests < 500)) + ":")
    for name, least, reached in goals(rows):
        met = "met" if reached >= least else "MISSED"
        print(f"{met:<7} {name}: {reached:.2f}, at least {least}")
    if arguments.chart:
        draw(arguments.chart, rows, sharing)


if __name__ == "__main__":
    main()
