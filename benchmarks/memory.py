"""Show the API's memory: while many access tokens arrive, and while ZITADEL's answers are hostile.

Shown is the peak of gunicorn's only worker, which has 8 threads. Whoever gets a token can make
ZITADEL's answers about it large; the other attacks require control of what answers for ZITADEL.
It takes about 6 minutes. Exit status: 0, or 1 if a goal was missed.
"""

from __future__ import annotations

import argparse
import json
import sys

from harness import CALLERS, Caller, call_at_once, end_on_sigterm, serving_api

STEPS = 5
PIECE = 1000  # Ctrl-C takes effect between two of them
GROWTH = 5  # MB at most, from the first fifth of the tokens to the last
# An answer has 1 MB at most. With an emoji in it, each character of its text has 4 bytes, and each
# of the 8 threads may have three copies of it at once: the text, its value, and what is cached.
GOAL = 160
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


def main() -> int:
    """Measure and print both tables; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="tokens (default: 100000)")
    parser.add_argument("--calls", type=int, default=48, help="of each attack (default: 48)")
    parser.add_argument("--goal", type=int, default=GOAL, help=f"MB (default: {GOAL})")
    arguments = parser.parse_args()
    if not 100 <= arguments.requests <= 1_000_000 or not 1 <= arguments.calls <= 1000:
        parser.error("--requests must be from 100 to 1000000, --calls from 1 to 1000")
    end_on_sigterm()
    missed = 0

    print("route        requests  peak MB", flush=True)
    for route in ("jwt", "cached"):
        with serving_api() as (port, _):
            callers = [Caller(port) for _ in range(CALLERS)]
            tokens = [f"{number:0100d}" for number in range(arguments.requests)]
            done, peaks = 0, []
            for step in range(STEPS + 1):
                end = len(tokens) * step // STEPS or len(tokens) // 100  # step 0 is the warm-up
                for start in range(done, end, PIECE):
                    call_at_once(callers, f"/HTTP/{route}", tokens[start : min(start + PIECE, end)])
                done = end
                peaks.append(peak(callers[0]))
                print(f"{route:<10} {done:>10} {peaks[-1]:>8.1f}", flush=True)
            grown = peaks[-1] - peaks[1]
            met = grown <= GROWTH
            missed += not met
            verdict = "met" if met else "MISSED"
            print(f"{route:<10} {'grown by':>10} {grown:>8.1f}  goal: at most {GROWTH}  {verdict}")

    heading = f"{'ZITADEL answers with':<32}  calls  peak MB  goal: below {arguments.goal}"
    print(f"\n{heading}", flush=True)
    for name, (kind, path, status) in ATTACKS.items():
        with serving_api() as (port, _):
            callers = [Caller(port) for _ in range(CALLERS)]
            tokens = [f"{kind}.{number}" for number in range(arguments.calls)]
            call_at_once(callers, path, tokens, status)
            most = peak(callers[0])
        met = most < arguments.goal
        missed += not met
        verdict = "met" if met else "MISSED"
        print(f"{name:<32} {len(tokens):>6} {most:>8.1f}  {verdict}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
