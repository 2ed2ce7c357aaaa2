"""Show the API's memory: while many access tokens arrive, and while ZITADEL's answers are hostile.

Shown is the peak of gunicorn's only worker, which has 8 threads. Whoever gets a token can make
ZITADEL's answers about it large; the other attacks require control of what answers for ZITADEL.
"""

from __future__ import annotations

import argparse
import json

from harness import CALLERS, Caller, call_at_once, end_on_sigterm, serving_api

STEPS = 5
PIECE = 1000  # Ctrl-C takes effect between two of them
GOAL = 60
ATTACKS = {  # the token, which tells the endpoint what to answer, the route, and its status
    "ordinary answers": ("ordinary", "/HTTP/basic", 200),
    "118 MB, a scope echoed": ("echoed", "/HTTP/basic", 503),
    "a body of 1 GB": ("gigabyte", "/HTTP/basic", 503),
    "1 MB of gzip, which is 1 GB": ("compressed", "/HTTP/basic", 503),
    "endless chunks": ("endless", "/HTTP/basic", 503),
    "a redirect with a body of 1 GB": ("redirect", "/HTTP/basic", 500),
    "just below the limit": ("below", "/HTTP/basic", 200),
    "just below the limit, cached": ("below", "/HTTP/cached", 200),
    "the same, with an emoji in it": ("wide", "/HTTP/cached", 200),
}


def peak(caller: Caller) -> float:
    """Return the most memory in MB that the API's process has had."""
    return float(json.loads(caller.get("/process"))["peak"])


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="tokens (default: 100000)")
    parser.add_argument("--calls", type=int, default=48, help="of each attack (default: 48)")
    arguments = parser.parse_args()
    if not 100 <= arguments.requests <= 1_000_000 or not 1 <= arguments.calls <= 1000:
        parser.error("--requests must be from 100 to 1000000, --calls from 1 to 1000")
    end_on_sigterm()

    print("route        requests  peak MB", flush=True)
    for route in ("jwt", "cached"):
        with serving_api() as (port, _):
            callers = [Caller(port) for _ in range(CALLERS)]
            tokens = [f"{number:0100d}" for number in range(arguments.requests)]
            done = 0
            for step in range(STEPS + 1):
                end = len(tokens) * step // STEPS or len(tokens) // 100  # step 0 is the warm-up
                for start in range(done, end, PIECE):
                    call_at_once(callers, f"/HTTP/{route}", tokens[start : min(start + PIECE, end)])
                done = end
                print(f"{route:<10} {done:>10} {peak(callers[0]):>8.1f}", flush=True)

    print(f"\n{'ZITADEL answers with':<32}  calls  peak MB  goal: below {GOAL}", flush=True)
    for name, (kind, path, status) in ATTACKS.items():
        with serving_api() as (port, _):
            callers = [Caller(port) for _ in range(CALLERS)]
            tokens = [f"{kind}.{number}" for number in range(arguments.calls)]
            call_at_once(callers, path, tokens, status)
            most = peak(callers[0])
        met = "met" if most < GOAL else "MISSED"
        print(f"{name:<32} {len(tokens):>6} {most:>8.1f}  {met}", flush=True)


if __name__ == "__main__":
    main()
