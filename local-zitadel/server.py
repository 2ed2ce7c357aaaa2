"""A small stand-in for ZITADEL: for learning and tests, not for production.

    python local-zitadel/server.py [--port 8080] [--token-file FILE]

It answers as ZITADEL does, keeps everything in memory, and says in its log why it refuses.
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
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from flask import Flask, Response, abort, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from answers import RefusalError, call_error, json_object
from management import CALLS, Body, check_admin, my_organization
from oauth import LocalZitadel, discovery
from state import State, Token

TOKEN_SECONDS = 43200
ADMIN_TOKEN_SECONDS = 365 * 86400
MAX_BODY_BYTES = 1_000_000
log = logging.getLogger("local-zitadel")


# The application


def form_fields() -> dict[str, str]:
    """Return the form's fields and the query's, of which the form's count."""
    return request.args.to_dict() | request.form.to_dict()


def authorization() -> str:
    """Return the Authorization header."""
    return request.headers.get("Authorization", "")


def create_app(state: State, issuer: str, token_seconds: int = TOKEN_SECONDS) -> Flask:
    """Return the Flask application that answers as the ZITADEL at `issuer`."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    zitadel = LocalZitadel(state, issuer, token_seconds)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]

    @app.before_request
    def check_host() -> Response | None:
        host = request.environ.get("HTTP_HOST", "")
        if re.fullmatch(r"localhost(:\d+)?", host, re.IGNORECASE | re.ASCII):
            return None
        log.info("refused, the request is to another host name than localhost")
        return text(
            404,
            f"unable to set instance using origin &{{{host[:253]}  http}} (ExternalDomain is "
            "localhost): ID=QUERY-1kIjX Message=Instance not found. Make sure you got the domain "
            "right. Check out https://zitadel.com/docs/apis/introduction#domains\n",
        )

    @app.get("/.well-known/openid-configuration")
    def configuration() -> Response:
        return jsonify(discovery(issuer))

    @app.get("/oauth/v2/keys")
    def keys() -> Response:
        return jsonify(zitadel.keys())

    @app.route("/oauth/v2/token", methods=methods)
    def token() -> Response:
        form = form_fields()
        with state.lock:
            return jsonify(zitadel.token(form, authorization()))

    @app.route("/oauth/v2/introspect", methods=methods)
    def introspection() -> Response:
        form = form_fields()
        with state.lock:
            return jsonify(zitadel.introspect(form, authorization()))

    @app.get("/management/v1/orgs/me")
    def organization() -> Response:
        with state.lock:
            check_admin(state, authorization())
            return jsonify(my_organization(state))

    @app.post("/<service>/<name>")
    def management_call(service: str, name: str) -> Response:
        call = CALLS.get(service, {}).get(name)
        if call is None:
            abort(404)
        if request.mimetype != "application/json":
            abort(415)
        content = request.get_data()
        with state.lock:
            check_admin(state, authorization())
            values = json_object(content)
            if values is None:
                raise call_error("invalid_argument", "the body must be a JSON object")
            return jsonify(call(state, Body(values, f"{name}Request")))

    @app.errorhandler(RefusalError)
    def refused(refusal: RefusalError) -> tuple[Response, int]:
        what = (request.view_args or {}).get("name") or request.endpoint
        log.info("%s: refused, %s", what, refusal.reason)
        return jsonify(refusal.body), refusal.status

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        status = error.code or 500
        answer = text(status, "404 page not found\n" if status == 404 else f"{error.name}\n")
        if status == 405:
            answer.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
        return answer

    @app.after_request
    def forbid_storing(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        return response

    return app


def text(status: int, content: str) -> Response:
    """Return an answer in plain text."""
    return Response(content, status, content_type="text/plain; charset=utf-8")


class RequestHandler(WSGIRequestHandler):
    """Werkzeug's handler, but it keeps connections alive as ZITADEL does, and logs nothing.

    Werkzeug closes each connection since it may not have read the whole body; here it has.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d\n"

    def run_wsgi(self) -> None:
        """Answer one request."""
        lengths = self.headers.get_all("Content-Length", ["0"])
        if "Transfer-Encoding" in self.headers:
            return self.refuse(411)
        if len(lengths) != 1 or not re.fullmatch("[0-9]{1,15}", lengths[0]):
            return self.refuse(400)
        if int(lengths[0]) > MAX_BODY_BYTES:
            return self.refuse(413)
        content = self.rfile.read(int(lengths[0]))
        if len(content) < int(lengths[0]):
            return self.refuse(400)
        try:
            environ = self.make_environ()
        except ValueError:  # the address in the request line can't be read
            return self.refuse(400)
        environ["wsgi.input"] = io.BytesIO(content)
        chunks, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)

    def refuse(self, status: int) -> None:
        """Answer what isn't proper HTTP, and end the connection."""
        self.send_error(status)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: a request line may hold a token."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing, for the same reason."""


# Starting


def write_token(file: Path, token: str) -> None:
    """Write the token so that only its owner can read it, whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
    try:
        with open(handle, "w", encoding="ascii") as opened:
            opened.write(f"{token}\n")
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def relative(file: Path) -> Path:
    """Return the path from the working directory, if it is below it."""
    file = Path(os.path.abspath(file))
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a check of a whole number for the command line."""

    def check(value: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", value) or not lowest <= int(value) <= highest:
            raise argparse.ArgumentTypeError(f"it must be a number from {lowest} to {highest}")
        return int(value)

    return check


def stop(*_: object) -> NoReturn:
    """End the process quietly."""
    raise SystemExit(0)


def main() -> int:
    """Run until Ctrl-C or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        description="A small stand-in for ZITADEL, for learning and tests, not for production."
    )
    parser.add_argument("--port", type=number(0, 65535), default=8080, help="0 takes a free one")
    parser.add_argument(
        "--token-file",
        type=Path,
        default=Path(__file__).with_name("admin.pat"),
        help="where to write the administrator's personal access token",
    )
    parser.add_argument(
        "--token-seconds",
        type=number(1, 10**9 - 1),
        default=TOKEN_SECONDS,
        help="how long access tokens live",
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)

    try:
        listening = socket.create_server(("127.0.0.1", arguments.port))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        print(f"Port {arguments.port} can't be used ({reason}).", file=sys.stderr)
        return 2
    port = listening.getsockname()[1]
    issuer = f"http://localhost:{port}"

    state = State()
    admin = state.add_user("admin", "admin", is_admin=True)
    expires = time.time() + ADMIN_TOKEN_SECONDS
    token = Token(state.new_id(), admin, time.time(), expires, is_personal=True)
    try:
        file = relative(arguments.token_file)
        write_token(file, state.add_token(token))
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        print(f"{arguments.token_file} can't be written ({reason}).", file=sys.stderr)
        return 2

    app = create_app(state, issuer, arguments.token_seconds)
    server = make_server(
        "127.0.0.1",
        port,
        app,
        threaded=True,
        request_handler=RequestHandler,
        fd=listening.fileno(),
    )
    print(f"local-zitadel runs at {issuer}")
    print(f"Admin personal access token in {file}")
    print("It is for learning and tests, not for production: a restart forgets everything.")
    token_file = shlex.quote(str(file))
    print(
        f"Fill the folders: python provision.py --domain {issuer} --token-file {token_file}",
        flush=True,
    )
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
