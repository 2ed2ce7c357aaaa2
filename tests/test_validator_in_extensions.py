"""The decorator inside Flask extensions that have error formats of their own."""

from __future__ import annotations

import copy
import logging.config
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import apiflask
import connexion
import flask_restful
import flask_restx
import flask_smorest
import pytest
from flask import Flask
from flask.views import MethodView

from access_token import TokenError
from introspection import IntrospectionRejectedError, IntrospectionUnavailableError
from servers import TOKEN, Upstream, active, send, serving
from validator import ValidatorError, ZitadelIntrospectTokenValidator, current_token

RequireAuth = ZitadelIntrospectTokenValidator
Extended = Callable[[RequireAuth], Flask]


def restful(require_auth: RequireAuth) -> Flask:
    class Messages(flask_restful.Resource):
        method_decorators: ClassVar = [require_auth("editor")]

        def get(self) -> Any:
            return {"sub": current_token()["sub"]}

    app = Flask(__name__)
    flask_restful.Api(app).add_resource(Messages, "/messages")
    return app


def restful_with_api_decorators(require_auth: RequireAuth) -> Flask:
    class Messages(flask_restful.Resource):
        def get(self) -> Any:
            return {"sub": current_token()["sub"]}

    app = Flask(__name__)
    api = flask_restful.Api(app, decorators=[require_auth("editor")])
    api.add_resource(Messages, "/messages")
    return app


def restful_on_the_method(require_auth: RequireAuth) -> Flask:
    class Messages(flask_restful.Resource):
        @require_auth("editor")
        def get(self) -> Any:
            return {"sub": current_token()["sub"]}

    app = Flask(__name__)
    flask_restful.Api(app).add_resource(Messages, "/messages")
    return app


def restx(require_auth: RequireAuth) -> Flask:
    app = Flask(__name__)
    api = flask_restx.Api(app, doc=False)

    @api.route("/messages")
    class Messages(flask_restx.Resource):
        method_decorators: ClassVar = [require_auth("editor")]

        def get(self) -> Any:
            return {"sub": current_token()["sub"]}

    return app


def restx_on_the_method(require_auth: RequireAuth) -> Flask:
    app = Flask(__name__)
    api = flask_restx.Api(app, doc=False)

    @api.route("/messages")
    class Messages(flask_restx.Resource):
        @require_auth("editor")
        def get(self) -> Any:
            return {"sub": current_token()["sub"]}

    return app


def let_it_answer(app: Flask) -> Flask:
    """Do what the page says for extensions with error formats of their own."""
    app.register_error_handler(ValidatorError, lambda error: error.get_response())
    return app


def smorest(require_auth: RequireAuth) -> Flask:
    app = Flask(__name__)
    app.config |= {"API_TITLE": "t", "API_VERSION": "1", "OPENAPI_VERSION": "3.0.2"}
    api = flask_smorest.Api(app)
    messages = flask_smorest.Blueprint("messages", __name__)

    @messages.route("/messages")
    class Messages(MethodView):
        @require_auth("editor")
        def get(self) -> Any:
            return {"sub": current_token()["sub"]}

    api.register_blueprint(messages)
    return let_it_answer(app)


def apiflask_app(require_auth: RequireAuth) -> Flask:
    app = apiflask.APIFlask(__name__)

    @app.get("/messages")
    @require_auth("editor")
    def messages() -> Any:
        return {"sub": current_token()["sub"]}

    return let_it_answer(app)


@pytest.mark.parametrize(
    "extended",
    [
        restful,
        restful_with_api_decorators,
        restful_on_the_method,
        restx,
        restx_on_the_method,
        smorest,
        apiflask_app,
    ],
)
def test_an_extension_sends_our_error_whole(
    extended: Extended, require_auth: RequireAuth, upstream: Upstream
) -> None:
    upstream.answer(active("editor"))
    with serving(extended(require_auth)) as base_url:
        assert send(base_url, "/messages", TOKEN)[::2] == (200, {"sub": "1"})
        status, headers, body = send(base_url, "/messages")
        assert (status, body["error"]) == (401, "unauthorized")
        assert headers["www-authenticate"] == 'Bearer realm="api"'
        upstream.answer(active())
        assert send(base_url, "/messages", TOKEN)[::2] == (
            403,
            {
                "error": "insufficient_scope",
                "error_description": "This route requires the role editor.",
            },
        )
        upstream.answer(b"", 503)
        status, headers, body = send(base_url, "/messages", TOKEN)
        assert (status, body["error"]) == (503, "temporarily_unavailable")
        assert headers["retry-after"] == "5"


def test_connexion_sends_our_error_whole(require_auth: RequireAuth, upstream: Upstream) -> None:
    @require_auth("editor")
    def messages() -> Any:
        return {"sub": current_token()["sub"]}

    class Resolver(connexion.Resolver):
        def resolve(self, operation: Any) -> Any:
            return connexion.resolver.Resolution(messages, "messages")

    responses = {"200": {"description": "the messages"}}
    specification = {
        "openapi": "3.0.0",
        "info": {"title": "t", "version": "1"},
        "paths": {"/": {"get": {"operationId": "messages", "responses": responses}}},
    }
    app = connexion.FlaskApp(__name__)
    app.add_api(specification, resolver=Resolver())
    let_it_answer(app.app)
    upstream.answer(active("editor"))
    with app.test_client() as client:
        answer = client.get("/", headers={"Authorization": "Bearer abc"})
        assert (answer.status_code, answer.json()) == (200, {"sub": "1"})
        answer = client.get("/")
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize("status", [401, 500, 503])
def test_the_reason_is_logged_after_the_app_has_configured_logging(
    status: int,
    require_auth: RequireAuth,
    upstream: Upstream,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    logging.config.dictConfig(
        {"version": 1, "handlers": {"all": handler}, "root": {"handlers": ["all"]}}
    )
    try:
        app = Flask(f"configured-{status}")
        app.add_url_rule("/", view_func=require_auth(lambda: "in"))
        upstream.answer({"active": False}, {401: 200, 500: 400}.get(status, status))
        with serving(app) as base_url:
            assert send(base_url, "/", TOKEN)[0] == status
    finally:
        root.handlers[:] = before
    assert (upstream.url in capsys.readouterr().out) == (status != 401)


@pytest.mark.parametrize(
    "error",
    [
        ValidatorError(401, "invalid_token", "The access token is not active."),
        ValidatorError(503, "temporarily_unavailable", "Not now.", 7),
        IntrospectionUnavailableError("status 503", 7),
        IntrospectionRejectedError("status 400"),
        TokenError("no token", status=503, error="server_error", temporary=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_can_be_copied_and_pickled(error: Exception) -> None:
    for copied in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(copied) is type(error) and str(copied) == str(error)
        for name in ("code", "error", "retry_after", "status", "temporary"):
            assert getattr(copied, name, None) == getattr(error, name, None)
        if isinstance(error, ValidatorError):
            assert isinstance(copied, ValidatorError)
            assert copied.get_response().headers == error.get_response().headers
            assert copied.get_response().data == error.get_response().data


def test_a_validator_without_an_introspection_says_so(upstream: Upstream) -> None:
    require_auth = ZitadelIntrospectTokenValidator()

    def create_app() -> Flask:
        app = Flask("factory")
        app.testing = True
        app.add_url_rule("/", view_func=require_auth(lambda: "in"))
        return app

    headers = {"Authorization": "Bearer abc"}
    with pytest.raises(RuntimeError, match="Assign the validator's `introspection` first"):
        create_app().test_client().get("/", headers=headers)

    class Fake:
        def introspect(self, token: str) -> dict[str, Any]:
            return active()

    require_auth.introspection = Fake()
    assert create_app().test_client().get("/", headers=headers).text == "in"
