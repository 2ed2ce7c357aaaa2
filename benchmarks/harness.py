"""Start the API and the introspection endpoints that it asks, and call it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import certifi

FOLDER = Path(__file__).resolve().parent
PYTHONPATH = f"{FOLDER}:{FOLDER.parent / 'api-jwt'}"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CALLERS = 8  # at once, and as many threads as the API has
TOKEN = "0" * 100
CERTIFICATE = (  # and the key, which signs the API's assertions too
    "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 "
    "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem"
)


class CallError(SystemExit):
    """A call failed: the sentence that the program ends with."""


class Caller:
    """One keep-alive connection, on a raw socket: an HTTP library would cost more than the API.

    Args:
        port: where to call, at 127.0.0.1.
        timeout: how many seconds to wait for an answer.
    """

    def __init__(self, port: int, timeout: float = 60) -> None:
        self._address = ("127.0.0.1", port)
        self._timeout = timeout
        self._connection: socket.socket | None = None

    def get(self, path: str, token: str = TOKEN, status: int = 200) -> bytes:
        """Send an access token and return the answer's body; exit if it has another status."""
        request = f"GET {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n\r\n"
        try:
            # Not earlier: a connection that sends nothing keeps one of gunicorn's threads waiting.
            if self._connection is None:
                self._connection = socket.create_connection(self._address, self._timeout)
                self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection.sendall(request.encode())
            head, body = receive(self._connection)
        except TimeoutError:
            raise
        except OSError as error:
            raise CallError(f"{path} failed: {type(error).__name__}: {error}") from None
        if not head.startswith(b"HTTP/1.1 %d " % status):
            answered = head.split(b"\r\n")[0].decode("latin-1")
            raise CallError(f"{path} was answered with {answered!r} instead of status {status}.")
        return body


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the head and the body of one HTTP answer."""
    received = b""
    while data := connection.recv(65536):
        received += data
        head, end, body = received.partition(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        if end and len(body) >= int(length[1] if length else 0):
            return head, body
    raise ConnectionError("The connection was closed before the answer was whole.")


def call_at_once(
    callers: Sequence[Caller], path: str, tokens: Sequence[str], status: int = 200
) -> list[float]:
    """Distribute the tokens among the callers, and return how many seconds each call took."""

    def call(number: int) -> list[float]:
        latencies = []
        for token in tokens[number :: len(callers)]:
            start = time.perf_counter()
            callers[number].get(path, token, status)
            latencies.append(time.perf_counter() - start)
        return latencies

    with ThreadPoolExecutor(len(callers)) as threads:
        return list(chain.from_iterable(threads.map(call, range(len(callers)))))


@contextmanager
def serving(folder: Path, *command: str, ports: int = 1, **variables: str) -> Iterator[list[int]]:
    """Run a Python program in `folder` that serves listening sockets, and give their ports.

    In `command`, `{0}` stands for the number of the first socket, which exists before the program:
    nobody else can take the port, and early callers wait.
    """
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=128) for _ in range(ports)]
    for listener in listeners:
        # As gunicorn does, which is too late for early callers.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    numbers = [listener.fileno() for listener in listeners]
    process = subprocess.Popen(
        [sys.executable, *(part.format(*numbers) for part in command)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": PYTHONPATH} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=numbers,
        start_new_session=True,  # Ctrl-C reaches this program alone, which ends the others
    )
    try:
        yield [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def serving_api(threads: int = CALLERS) -> Iterator[tuple[int, int]]:
    """Run api.py under gunicorn with one worker, and upstream.py; give their ports for HTTP."""
    options = f"--threads {threads} --keep-alive 600 --error-logfile log.txt --graceful-timeout 0"
    with TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(CERTIFICATE.split(), cwd=folder, check=True, capture_output=True)
        # An API on the internet loads all of certifi's certificates, which takes its time.
        trusted = [folder / "certificate.pem", Path(certifi.where())]
        (folder / "bundle.pem").write_bytes(b"".join(file.read_bytes() for file in trusted))
        with (
            serving(folder, str(FOLDER / "upstream.py"), "{0}", "{1}", ports=2) as (plain, tls),
            serving(
                folder,  # without a .netrc, and gunicorn's own files don't stay
                *("-m", "gunicorn", "api:app", "--bind", "fd://{0}", *options.split()),
                HOME=name,
                NO_PROXY="127.0.0.1",  # for the sample's way
                HTTP_URL=f"http://127.0.0.1:{plain}/oauth/v2/introspect",
                HTTPS_URL=f"https://127.0.0.1:{tls}/oauth/v2/introspect",
                PRIVATE_KEY_FILE="key.pem",
                REQUESTS_CA_BUNDLE="bundle.pem",
            ) as (api,),
        ):
            try:
                yield api, plain
            except CallError:
                print((folder / "log.txt").read_text()[-2000:], file=sys.stderr)
                raise


def end_on_sigterm() -> None:
    """Let SIGTERM end this program as Ctrl-C does, and with it the programs it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
