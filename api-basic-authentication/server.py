"""A Flask API with a public, a private and a role-protected route."""

import argparse

from flask import Flask, Response, jsonify

import settings
from client_authentication import load_client_authentication
from validator import ZitadelIntrospectTokenValidator

try:
    client_authentication = load_client_authentication()
    introspection_url = settings.introspection_url()
except settings.ConfigurationError as error:
    settings.stop(error)

require_auth = ZitadelIntrospectTokenValidator(introspection_url, client_authentication)
app = Flask(__name__)


@app.get("/api/public")
def public() -> Response:
    """Answer everyone."""
    response = "Public route - You don't need to be authenticated to see this."
    return jsonify(message=response)


@app.get("/api/private")
@require_auth(None)
def private() -> Response:
    """Answer whoever brings an active access token."""
    response = "Private route - You need to be authenticated to see this."
    return jsonify(message=response)


@app.get("/api/private-scoped")
@require_auth(["read:messages"])
def private_scoped() -> Response:
    """Answer whoever brings an active access token of a user with the role read:messages."""
    response = (
        "Private, scoped route - You need to be authenticated and have the role "
        "read:messages to see this."
    )
    return jsonify(message=response)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000)
    app.run(port=parser.parse_args().port)
