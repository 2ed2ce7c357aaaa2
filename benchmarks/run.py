"""Measure what checking an access token costs, beside the way of ZITADEL's Python sample.

All of it runs on this machine: the API under gunicorn with one worker process, an introspection
endpoint in another process, and the callers in this one.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import itertools
import operator
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

FOLDER = Path(__file__).resolve().parent
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CALLERS = 8  # at once, and as many threads as the API has
ROUNDS = 20  # each measures every row for a moment, so that a disturbance meets all of them
SAMPLE_SHARE = 5  # the sample's way gets one in so many requests, or the run would take minutes


class Caller:
    """One keep-alive connection, on a raw socket: an HTTP library would cost more than the API.

    Args:
        port: where to call, at 127.0.0.1.
        certificate: the file of the server's certificate, to call over TLS.
    """

    def __init__(self, port: int, certificate: Path | None = None) -> None:
        self._port = port
        self._certificate = certificate
        self._connection: socket.socket | None = None

    def call(self, request: bytes) -> bytes:
        """Send the request and return the body of the answer; exit if its status is not 200."""
        what = request.split(b"\r\n")[0].decode()
        try:
            # Not earlier: a connection that sends nothing keeps one of gunicorn's threads waiting.
            self._connection = self._connection or self._connect()
            self._connection.sendall(request)
            answer = receive(self._connection)
        except OSError as error:
            raise SystemExit(f"{what} failed: {type(error).__name__}: {error}") from None
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            status = head.split(b"\r\n")[0].decode("latin-1")
            raise SystemExit(f"{what} was answered with {status!r} instead of status 200.")
        return body

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._certificate is None:
            return connection
        tls = ssl.create_default_context(cafile=self._certificate)
        return tls.wrap_socket(connection, server_hostname="127.0.0.1")


def receive(connection: socket.socket) -> bytes:
    """Return one whole HTTP answer."""
    received = b""
    while data := connection.recv(65536):
        received += data
        head, end, body = received.partition(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        if end and len(body) >= int(length[1] if length else 0):
            return received
    raise ConnectionError("The connection was closed before the answer was whole.")


def get(path: str, token: str = "0" * 100) -> bytes:
    """Return a GET with an access token, as a `Caller` sends it."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    return head.encode()


def call_at_once(callers: Sequence[Caller], requests: Sequence[bytes]) -> list[float]:
    """Share out the requests among the callers, and return how many seconds each one took."""

    def call(number: int) -> list[float]:
        latencies = []
        for request in requests[number :: len(callers)]:
            start = time.perf_counter()
            callers[number].call(request)
            latencies.append(time.perf_counter() - start)
        return latencies

    with ThreadPoolExecutor(len(callers)) as threads:
        return list(itertools.chain(*threads.map(call, range(len(callers)))))


@contextmanager
def serving(*command: str, **variables: str) -> Iterator[int]:
    """Run a Python program that serves a listening socket, and give its port.

    In `command`, `{socket}` stands for the number of the socket, which exists before the program:
    nobody else can take the port, and who calls too early waits.
    """
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        # As gunicorn does, which is too late for who called before it was ready.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port = int(listener.getsockname()[1])
        process = subprocess.Popen(
            [sys.executable, *(part.format(socket=listener.fileno()) for part in command)],
            cwd=FOLDER,
            env=inherited | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # Ctrl-C reaches this program alone, which ends the others
        )
    try:
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def serving_api(folder: Path) -> Iterator[tuple[int, dict[str, int]]]:
    """Run api.py and the two introspection endpoints that it asks; give its port and theirs.

    Args:
        folder: where `write_files` wrote.
    """
    options = f"--threads {CALLERS} --keep-alive 600 --graceful-timeout 1 --log-level warning"
    with (
        serving("upstream.py", "{socket}") as plain,
        serving("upstream.py", "{socket}", str(folder / "certificate-and-key.pem")) as tls,
        serving(
            *("-m", "gunicorn", "api:app", "--bind", "fd://{socket}", *options.split()),
            HOME=str(folder),  # without a .netrc, and gunicorn's own files don't stay
            NO_PROXY="127.0.0.1",  # on macOS requests would look for a proxy in the system settings
            PYTHONPATH=str(FOLDER.parent / "api-jwt"),
            HTTP_URL=f"http://127.0.0.1:{plain}/oauth/v2/introspect",
            HTTPS_URL=f"https://127.0.0.1:{tls}/oauth/v2/introspect",
            PRIVATE_KEY_FILE=str(folder / "private-key.pem"),
            REQUESTS_CA_BUNDLE=str(folder / "bundle.pem"),
        ) as api,
    ):
        yield api, {"HTTP": plain, "HTTPS": tls}


def write_files(folder: Path) -> None:
    """Write the API's private key, a certificate with its key, and what makes it trusted."""
    (folder / "private-key.pem").write_bytes(pem(rsa.generate_private_key(65537, 2048)))
    host = ipaddress.ip_address("127.0.0.1")
    key = ec.generate_private_key(ec.SECP256R1())  # a handshake with it is cheaper than with RSA
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, str(host))])
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(host)]), critical=False)
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )
    (folder / "certificate.pem").write_bytes(certificate)
    (folder / "certificate-and-key.pem").write_bytes(certificate + pem(key))
    # An API on the internet loads all of certifi's certificates, which takes its time.
    (folder / "bundle.pem").write_bytes(Path(certifi.where()).read_bytes() + certificate)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """Return the private key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass
class Row:
    """A line of the table: what is called, and what was measured.

    Args:
        name: what is called.
        transport: how the introspection endpoint is reached.
        request: what is sent.
        count: how often in each round.
        callers: who sends it.
        counters: whom to ask for the connections opened and for the signatures made up to now.
    """

    name: str
    transport: str
    request: bytes
    count: int
    callers: list[Caller]
    counters: list[tuple[Caller, bytes]]
    latencies: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    crowded: list[float] = field(default_factory=list)
    counted: list[int] = field(default_factory=lambda: [0, 0])

    def measure_alone(self) -> None:
        """Measure a round with one caller: time, connections and signatures."""
        before = self._counts()
        start = time.perf_counter()
        self.latencies += call_at_once(self.callers[:1], [self.request] * self.count)
        self.alone.append(self.count / (time.perf_counter() - start))
        grown = map(operator.sub, self._counts(), before)
        self.counted = [*map(operator.add, self.counted, grown)]

    def measure_crowded(self) -> None:
        """Measure a round with all callers at once."""
        count = max(self.count, len(self.callers))
        start = time.perf_counter()
        call_at_once(self.callers, [self.request] * count)
        self.crowded.append(count / (time.perf_counter() - start))

    def line(self) -> str:
        """Return the line of the table."""
        counted = self.counted if self.counters else ["", ""]
        return LINE.format(
            self.name,
            self.transport,
            f"{1000 * median(self.latencies):.2f}",
            f"{median(self.alone):.0f}",
            f"{median(self.crowded):.0f}",
            len(self.latencies),
            *counted,
        )

    def _counts(self) -> list[int]:
        return [int(caller.call(request)) for caller, request in self.counters]


LINE = "{:<20} {:<14} {:>10} {:>11} {:>11} {:>10} {:>12} {:>11}"
HEAD = (
    LINE.format("", "", "1 caller:", "1 caller:", f"{CALLERS} callers:", "1 caller:", "", ""),
    LINE.format(
        *("", "introspection", "median ms", "requests/s", "requests/s"),
        *("requests", "connections", "signatures"),
    ),
)
ROUTES = {
    "cached": "cached",
    "Basic": "basic",
    "JWT": "jwt",
    "sample's way, Basic": "sample-basic",
    "sample's way, JWT": "sample-jwt",
}


def make_rows(count: int, api: int, endpoints: dict[str, int], certificate: Path) -> Iterator[Row]:
    """Make the lines of the table, those next to each other that are compared.

    Args:
        count: how many requests in each round.
        api: the port of the API.
        endpoints: the ports of the introspection endpoints.
        certificate: the file of the certificate of the one with TLS.
    """

    def callers(port: int, file: Path | None = None) -> list[Caller]:
        return [Caller(port, file) for _ in range(CALLERS)]

    files = {"HTTP": None, "HTTPS": certificate}
    form = b"token=" + b"0" * 100
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(form)}\r\n\r\n"
    counters = {}
    for name, port in endpoints.items():
        counters[name] = [
            (Caller(port, files[name]), get("/connections")),
            (Caller(api), get("/signatures")),
        ]
        request = head.encode() + form
        yield Row("the endpoint alone", name, request, count, callers(port, files[name]), [])
    yield Row("unprotected", "none", get("/unprotected"), count, callers(api), counters["HTTP"])
    for route, path in ROUTES.items():
        share = max(1, count // SAMPLE_SHARE) if path.startswith("sample") else count
        for name in endpoints:
            request = get(f"/{name}/{path}")
            yield Row(route, name, request, share, callers(api), counters[name])


def goals(rows: list[Row]) -> Iterator[tuple[str, bool]]:
    """Say what the project wants to reach, what it reached in this run, and whether that is it."""
    found = {(row.name, row.transport): row for row in rows}
    unprotected = found["unprotected", "none"]

    for name, transport, least in (("JWT", "HTTP", 10), ("Basic", "HTTPS", 3)):
        sample = found[f"sample's way, {name}", transport]
        times = ratios(found[name, transport], sample)
        reached = f"{times[0]:.1f} with 1 caller, {times[1]:.1f} with {CALLERS}"
        yield (
            f"{name} over {transport} serves at least {least} times as many requests/s as the "
            f"sample's way: {reached}",
            min(times) >= least,
        )

    for transport in ("HTTP", "HTTPS"):
        times = ratios(found["cached", transport], unprotected)
        reached = f"{times[0]:.2f} with 1 caller, {times[1]:.2f} with {CALLERS}"
        yield (
            f"cached over {transport} serves at least 0.9 times as many requests/s as the "
            f"unprotected route: {reached}",
            min(times) >= 0.9,
        )

    ours = [found[name, transport] for name in ("Basic", "JWT") for transport in ("HTTP", "HTTPS")]
    most = max(row.counted[0] for row in ours)
    count = len(ours[0].latencies)
    yield f"{count} requests one after another use 1 connection: {most}", most == 1

    for transport in ("HTTP", "HTTPS"):
        alone = found["the endpoint alone", transport]
        asking = [found[name, transport] for name in ROUTES if name != "cached"]
        least_times = min(min(ratios(alone, row)) for row in asking)
        yield (
            f"the endpoint alone over {transport} serves at least 5 times as many requests/s as "
            f"any route that asks it: {least_times:.1f}",
            least_times >= 5,
        )


def ratios(row: Row, other: Row) -> list[float]:
    """Return how many times as many requests/s `row` serves, with one and with all callers."""
    pairs = ((row.alone, other.alone), (row.crowded, other.crowded))
    return [median(map(operator.truediv, *pair)) for pair in pairs]


def end_on_sigterm() -> None:
    """Let SIGTERM end this program as Ctrl-C does, and with it the programs it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


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
    requests = parser.parse_args().requests
    if not 10 <= requests <= 1_000_000:
        parser.error("--requests must be from 10 to 1000000")
    rounds = min(ROUNDS, requests // 10)
    end_on_sigterm()
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        with serving_api(folder) as (api, endpoints):
            certificate = folder / "certificate.pem"
            rows = list(make_rows(requests // rounds, api, endpoints, certificate))
            for _ in range(rounds):
                for row in rows:
                    row.measure_alone()
            for _ in range(rounds):
                for row in rows:
                    row.measure_crowded()
    print(*HEAD, *(row.line() for row in rows), sep="\n")
    print("\nGoals:" if requests >= 500 else "\nGoals, of which so few requests tell nothing:")
    for goal, met in goals(rows):
        print(f"{'met' if met else 'MISSED':<8}{goal}")


if __name__ == "__main__":
    main()
