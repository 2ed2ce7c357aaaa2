"""A small stand-in for ZITADEL: for learning and tests, not for production.

    python local-zitadel/server.py [--port 8080] [--token-file FILE]

It answers like ZITADEL, keeps everything in memory, and logs why it rejects a request.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import shlex
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

import management
from oauth import LocalZitadel, discovery
from state import RejectionError, State, Token, User, printable

ADMIN_TOKEN_SECONDS = 365 * 86400
MAX_BODY_BYTES = 1_000_000
log = logging.getLogger("local-zitadel")


def form() -> dict[str, str]:
    """Return the fields of the query and the form; the form's take precedence."""
    return request.args.to_dict() | request.form.to_dict()


def authorization() -> str:
    """Return the Authorization header."""
    return request.headers.get("Authorization", "")


def text(status: int, content: str) -> Response:
    """Return an answer in plain text."""
    return Response(content, status, content_type="text/plain; charset=utf-8")


def create_app(state: State, token_seconds: int) -> Flask:
    """Return the Flask application that answers like ZITADEL."""
    app = Flask(__name__, static_folder=None)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]

    def zitadel() -> LocalZitadel:
        # As with ZITADEL, the Host header, port included, makes the issuer.
        return LocalZitadel(state, f"http://{request.host.lower()}", token_seconds)

    @app.before_request
    def check_host() -> Response | None:
        host = request.environ.get("HTTP_HOST", "")
        if re.fullmatch(r"localhost(:\d+)?", host, re.IGNORECASE | re.ASCII):
            return None
        log.info("rejected, the Host header names another host than localhost")
        return text(
            404,
            f"unable to set instance using origin &{{{host[:253]}  http}} (ExternalDomain is "
            "localhost): ID=QUERY-1kIjX Message=Instance not found. Make sure you got the domain "
            "right. Check out https://zitadel.com/docs/apis/introduction#domains\n",
        )

    @app.get("/.well-known/openid-configuration")
    def configuration() -> Response:
        return jsonify(discovery(zitadel().issuer))

    @app.get("/oauth/v2/keys")
    def keys() -> Response:
        return jsonify(zitadel().keys())

    @app.route("/oauth/v2/token", methods=methods)
    def token() -> Response:
        return jsonify(zitadel().token(form(), authorization()))

    @app.route("/oauth/v2/introspect", methods=methods)
    def introspection() -> Response:
        return jsonify(zitadel().introspect(form(), authorization()))

    def management_call(**in_path: str) -> Response:
        name, content = str(request.endpoint), request.get_data()
        return jsonify(management.answer(state, name, authorization(), content, in_path))

    for name, (method, path, _, _) in management.CALLS.items():
        app.add_url_rule(path, name, management_call, methods=[method])

    @app.errorhandler(RejectionError)
    def rejected(rejection: RejectionError) -> tuple[Response, int]:
        log.info("%s: rejected, %s", request.endpoint, printable(rejection.reason))
        return jsonify(rejection.body), rejection.status

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        status = error.code or 500
        return text(status, "404 page not found\n" if status == 404 else f"{error.name}\n")

    return app


class RequestHandler(WSGIRequestHandler):
    """Werkzeug's handler, but it keeps connections alive as ZITADEL does.

    Werkzeug closes each connection since it may not have read the whole body; here it has.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d\n"
    one_at_a_time = threading.Lock()

    def run_wsgi(self) -> None:
        """Answer one request."""
        try:
            length = int(self.headers.get("Content-Length", "0"))
            is_readable = 0 <= length <= MAX_BODY_BYTES and "Transfer-Encoding" not in self.headers
            content = self.rfile.read(length) if is_readable else b""
            environ = self.make_environ()
        except ValueError:
            is_readable = False
        if not is_readable or len(content) < length:
            return self.send_error(400)
        environ["wsgi.input"] = io.BytesIO(content)
        with self.one_at_a_time:
            chunks, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: Werkzeug's method fails on an address that can't be parsed."""


def write_token(file: Path, token: str) -> None:
    """Write the token so that only its owner can read it."""
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="ascii") as opened:
        opened.write(f"{token}\n")


def both(listening: socket.socket, port: int) -> dict[str, socket.socket]:
    """Return the sockets by address: localhost is ::1 too, where that exists."""
    sockets = {"127.0.0.1": listening}
    if socket.has_ipv6:
        with suppress(OSError):
            sockets["::1"] = socket.create_server(("::1", port), family=socket.AF_INET6)
    return sockets


def main() -> int:
    """Run until Ctrl-C or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        description="A small stand-in for ZITADEL, for learning and tests, not for production."
    )
    parser.add_argument("--port", type=int, default=8080, help="0 picks a free port")
    parser.add_argument(
        "--token-file",
        type=Path,
        default=Path(__file__).with_name("admin.pat"),
        help="where to write the administrator's personal access token",
    )
    parser.add_argument(
        "--token-seconds", type=int, default=43200, help="lifetime of access tokens"
    )
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    # Werkzeug would log each request line, which may contain a token.
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)

    try:
        listening = socket.create_server(("127.0.0.1", arguments.port))
    except (OSError, OverflowError) as error:
        print(f"Port {arguments.port} can't be used ({error}).", file=sys.stderr)
        return 2
    port = listening.getsockname()[1]
    state = State()
    admin = state.add(User("admin", "admin", state.organization, is_admin=True))
    token = Token(admin, time.time() + ADMIN_TOKEN_SECONDS, is_personal=True)
    file = arguments.token_file
    try:
        write_token(file, state.add_token(token))
    except OSError as error:
        print(f"{file} can't be written ({error.strerror}).", file=sys.stderr)
        return 2

    app = create_app(state, arguments.token_seconds)
    servers = [
        make_server(
            host,
            port,
            app,
            threaded=True,
            request_handler=RequestHandler,
            fd=listening.fileno(),
        )
        for host, listening in both(listening, port).items()
    ]
    issuer = f"http://localhost:{port}"
    print(f"local-zitadel runs at {issuer}")
    print(f"Admin personal access token in {file}")
    print("It is for learning and tests, not for production. Everything is lost on restart.")
    command = f"python provision.py --domain {issuer} --token-file {shlex.quote(str(file))}"
    print(f"To configure the folders: {command}", flush=True)
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
