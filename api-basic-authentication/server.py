"""A Flask API with a public, a private and a role-protected route."""

import sys

from flask import Flask
from flask.cli import cli

from client_authentication import ClientSecretBasic
from flask_environment import without_files
from introspection import TokenIntrospection
from settings import ConfigurationError, host_header, load, stop
from validator import ZitadelIntrospectTokenValidator


def create_introspection() -> TokenIntrospection:
    """Return the introspection endpoint to ask; raise ConfigurationError."""
    settings = load(environment=without_files())
    domain = settings.domain("ZITADEL_DOMAIN")
    url = settings.url("ZITADEL_INTROSPECTION_URL", f"{domain}/oauth/v2/introspect")

    credentials = ClientSecretBasic(
        settings.required("API_CLIENT_ID"), settings.required("API_CLIENT_SECRET")
    )
    return TokenIntrospection(url, credentials, host_header=host_header(url, domain))


try:
    require_auth = ZitadelIntrospectTokenValidator(create_introspection())
except ConfigurationError as error:
    stop(error)

app = Flask(__name__)


@app.get("/api/public")
def public() -> dict[str, str]:
    """Answer anyone."""
    return {"message": "Public route - You don't need to be authenticated to see this."}


@app.get("/api/private")
@require_auth(None)
def private() -> dict[str, str]:
    """Answer anyone with an active access token."""
    return {"message": "Private route - You need to be authenticated to see this."}


@app.get("/api/private-scoped")
@require_auth(["read:messages"])
def private_scoped() -> dict[str, str]:
    """Answer anyone with an active access token and the role read:messages."""
    return {
        "message": "Private, scoped route - You need to be authenticated and have the "
        "role read:messages to see this."
    }


if __name__ == "__main__":
    # The same as `flask --app server run`, with its options, such as --port 5001.
    cli.main(["--app", "server", "run", *sys.argv[1:]])
