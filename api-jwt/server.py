"""A Flask API with a public, a private and a role-protected route."""

import sys

from flask import Flask, Response, jsonify
from flask.cli import cli

import flask_environment
import key_file
import settings
from client_authentication import PrivateKeyJWT
from introspection import TokenIntrospection
from validator import ZitadelIntrospectTokenValidator


def create_introspection() -> TokenIntrospection:
    """Return ZITADEL's introspection endpoint as this folder's settings describe it.

    Raises settings.ConfigurationError if one of them is missing or wrong.
    """
    values = settings.load(environment=flask_environment.without_files())
    domain = values.domain("ZITADEL_DOMAIN")
    url = values.url("ZITADEL_INTROSPECTION_URL", f"{domain}/oauth/v2/introspect")

    key = key_file.read(values, "API_PRIVATE_KEY_FILE", "application")
    try:
        client_authentication = PrivateKeyJWT(
            client_id=key["clientId"],
            key_id=key["keyId"],
            private_key=key["key"],
            issuer=domain,
        )
    except ValueError:
        problem = "contains no unencrypted RSA private key"
        raise values.error("API_PRIVATE_KEY_FILE", problem) from None

    host = settings.host_header(url, domain)
    return TokenIntrospection(url, client_authentication, host_header=host)


try:
    require_auth = ZitadelIntrospectTokenValidator(create_introspection())
except settings.ConfigurationError as error:
    settings.stop(error)

app = Flask(__name__)


@app.get("/api/public")
def public() -> Response:
    """Answer anyone."""
    response = "Public route - You don't need to be authenticated to see this."
    return jsonify(message=response)


@app.get("/api/private")
@require_auth(None)
def private() -> Response:
    """Answer anyone with an active access token."""
    response = "Private route - You need to be authenticated to see this."
    return jsonify(message=response)


@app.get("/api/private-scoped")
@require_auth(["read:messages"])
def private_scoped() -> Response:
    """Answer anyone with an active access token and the role read:messages."""
    response = (
        "Private, scoped route - You need to be authenticated and have the role "
        "read:messages to see this."
    )
    return jsonify(message=response)


if __name__ == "__main__":
    # The same as `flask --app server run`, with its options, such as --port 5001.
    cli.main(["--app", "server", "run", *sys.argv[1:]])
