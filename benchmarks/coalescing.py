"""Measure how requests that wait with the same token share introspections: a part of run.py.

The introspection endpoint takes 5 ms for each, but for the token called quick only its CPU time.
The API has one worker with 16 threads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, product
from statistics import median, quantiles

from harness import Caller, call_at_once, serving_api

THREADS = 16
ROUNDS = 10
KINDS = ("one", "quick", "distinct")
ROUTES = {"nothing": "/HTTP/basic", "coalescing": "/HTTP/coalesced", "a cache": "/HTTP/cached"}
HEAD = "callers  tokens    with        requests/s  50 % ms  99 % ms  introspections a request"
LINE = "{:>7}  {:<8}  {:<10}  {:>10.0f}  {:>7.1f}  {:>7.1f}  {:>24.2f}"


@dataclass
class Sharing:
    """A row of the table: what was measured with so many callers."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    introspections: int = 0

    def rate(self) -> float:
        """Return the requests/s."""
        return median(self.rates)

    def share(self) -> float:
        """Return how many introspections a request has caused."""
        return self.introspections / len(self.latencies)


Rows = dict[tuple[int, str, str], Sharing]  # by callers, tokens, and what is used


def measure(requests: int) -> Rows:
    """Call each route with each kind of token, round after round."""
    rows: Rows = {key: Sharing() for key in product((1, 4, THREADS), KINDS, ROUTES)}
    numbers = count()
    rounds = max(1, min(ROUNDS, requests // THREADS))
    share = max(requests // rounds, THREADS)
    with serving_api(THREADS) as (api, upstream):
        callers = [Caller(api) for _ in range(THREADS)]
        endpoint = Caller(upstream)

        def introspections() -> int:
            return int(json.loads(endpoint.get("/counts"))["introspections"])

        for _ in range(rounds):
            for (at_once, kind, name), row in rows.items():
                tokens = ["quick" if kind == "quick" else "paced"] * share
                if kind == "distinct":
                    tokens = [distinct(next(numbers)) for _ in range(share)]
                before = introspections()
                start = time.perf_counter()
                row.latencies += call_at_once(callers[:at_once], ROUTES[name], tokens)
                row.rates.append(share / (time.perf_counter() - start))
                row.introspections += introspections() - before
    return rows


def distinct(number: int) -> str:
    """Return a token of letters that no other number has."""
    return "paced" + "".join(chr(ord("a") + int(digit)) for digit in str(number))


def table(rows: Rows) -> Iterator[str]:
    """Yield the lines of the table."""
    yield HEAD
    for key, row in rows.items():
        yield LINE.format(
            *key,
            row.rate(),
            1000 * median(row.latencies),
            1000 * quantiles(row.latencies, n=100)[-1],
            row.share(),
        )
