"""Where the decorator must work: every kind of Flask application and view, over real HTTP."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
from dotenv import dotenv_values
from flask import Blueprint, Flask, Response, g, jsonify
from flask.views import MethodView
from werkzeug.exceptions import HTTPException

from instance import Suite
from programs import APIS, ROOT, run, running_api
from servers import TOKEN, Upstream, active, send, serving
from validator import ValidatorError, ZitadelIntrospectTokenValidator, current_token

RequireAuth = ZitadelIntrospectTokenValidator
AUTHORIZATION = {"Authorization": "Bearer abc"}


@pytest.fixture
def require_auth(require_auth: RequireAuth, upstream: Upstream) -> RequireAuth:
    """Provide the decorator, asking a ZITADEL where the caller is an editor."""
    upstream.answer(active("editor"))
    return require_auth


def whoami() -> Response:
    return jsonify(current_token()["sub"] if current_token() else None)


def plain(app: Flask, require_auth: RequireAuth) -> None:
    @app.get("/")
    @require_auth("editor")
    def view() -> Response:
        return whoami()


def bare(app: Flask, require_auth: RequireAuth) -> None:
    @app.get("/")
    @require_auth
    def view() -> Response:
        return whoami()


def asynchronous(app: Flask, require_auth: RequireAuth) -> None:
    @app.get("/")
    @require_auth("editor")
    async def view() -> Response:
        return whoami()


def blueprint(app: Flask, require_auth: RequireAuth) -> None:
    messages = Blueprint("messages", __name__)

    @messages.get("/")
    @require_auth("editor")
    def view() -> Response:
        return whoami()

    app.register_blueprint(messages)


def blueprint_before_each_request(app: Flask, require_auth: RequireAuth) -> None:
    messages = Blueprint("messages", __name__)
    messages.before_request(lambda: require_auth.check("editor"))
    messages.add_url_rule("/", view_func=whoami)
    app.register_blueprint(messages)


def application_before_each_request(app: Flask, require_auth: RequireAuth) -> None:
    app.before_request(functools.partial(require_auth.check, "editor"))
    app.add_url_rule("/", view_func=whoami)


def method_view(app: Flask, require_auth: RequireAuth) -> None:
    class Messages(MethodView):
        decorators: ClassVar = [require_auth("editor")]

        def get(self) -> Response:
            return whoami()

    app.add_url_rule("/", view_func=Messages.as_view("messages"))


def asynchronous_method_view(app: Flask, require_auth: RequireAuth) -> None:
    class Messages(MethodView):
        decorators: ClassVar = [require_auth("editor")]

        async def get(self) -> Response:
            return whoami()

    app.add_url_rule("/", view_func=Messages.as_view("messages"))


def one_method_of_a_view(app: Flask, require_auth: RequireAuth) -> None:
    class Messages(MethodView):
        @require_auth("editor")
        def get(self) -> Response:
            return whoami()

    app.add_url_rule("/", view_func=Messages.as_view("messages"))


def between_other_decorators(app: Flask, require_auth: RequireAuth) -> None:
    def passing(view: Callable[..., Any]) -> Callable[..., Any]:
        return functools.wraps(view)(lambda *args, **kwargs: view(*args, **kwargs))

    @app.get("/")
    @passing
    @require_auth
    @passing
    @require_auth("editor")
    @passing
    def view() -> Response:
        return whoami()


def two_applications(app: Flask, require_auth: RequireAuth) -> None:
    plain(Flask("another"), require_auth)
    plain(app, require_auth)


@pytest.mark.parametrize(
    "build",
    [
        plain,
        bare,
        asynchronous,
        blueprint,
        blueprint_before_each_request,
        application_before_each_request,
        method_view,
        asynchronous_method_view,
        one_method_of_a_view,
        between_other_decorators,
        two_applications,
    ],
)
def test_every_kind_of_view_is_protected(
    build: Callable[[Flask, RequireAuth], None], require_auth: RequireAuth, upstream: Upstream
) -> None:
    def create_app() -> Flask:
        app = Flask("app")
        build(app, require_auth)
        return app

    with serving(create_app()) as base_url:
        assert send(base_url, "/", TOKEN)[::2] == (200, "1")
        assert send(base_url, "/")[0] == 401
        assert requests.head(base_url, timeout=5).status_code == 401
        upstream.answer(active() | ({"active": False} if build is bare else {}))
        assert send(base_url, "/", TOKEN)[0] == (401 if build is bare else 403)


def test_a_views_name_and_docstring_are_kept(require_auth: RequireAuth) -> None:
    def view() -> None:
        """Say something."""

    assert (require_auth(view).__name__, require_auth(view).__doc__) == ("view", "Say something.")


def test_above_the_route_decorator_it_doesnt_protect_the_route(require_auth: RequireAuth) -> None:
    app = Flask(__name__)

    @require_auth("editor")
    @app.get("/")
    def upside_down() -> Response:
        return jsonify("open to everyone")

    with serving(app) as base_url:
        assert requests.get(base_url, timeout=5).status_code == 200


@pytest.mark.parametrize("path", ["README.md", "api-jwt/validator.py"])
def test_the_wrong_order_of_decorators_is_documented(path: str) -> None:
    text = " ".join((ROOT / path).read_text().split())
    assert "Flask registers the unprotected view" in text


def test_options_is_public_unless_the_view_implements_it(
    require_auth: RequireAuth,
) -> None:
    class Messages(MethodView):
        decorators: ClassVar = [require_auth("editor")]

        def get(self) -> Response:
            return whoami()

        def options(self) -> Response:
            return whoami()

    app = Flask(__name__)
    plain(app, require_auth)
    app.add_url_rule("/listed", view_func=Messages.as_view("messages"))
    with serving(app) as base_url:
        for url, status in ((base_url, 200), (f"{base_url}/listed", 401)):
            assert requests.options(url, timeout=5).status_code == status
            assert requests.head(url, timeout=5).status_code == 401
        for method in ("options", "head"):
            answer = requests.request(method, f"{base_url}/listed", headers=AUTHORIZATION)
            assert answer.status_code == 200


def test_an_apps_own_error_handler_takes_precedence(require_auth: RequireAuth) -> None:
    app = Flask(__name__)
    plain(app, require_auth)

    @app.errorhandler(ValidatorError)
    def handle(error: ValidatorError) -> tuple[Response, int]:
        return jsonify(ours=error.error["error"]), error.status_code

    with serving(app) as base_url:
        assert send(base_url, "/")[::2] == (401, {"ours": "unauthorized"})


def test_a_handler_for_all_exceptions_gets_the_complete_error(require_auth: RequireAuth) -> None:
    app = Flask(__name__)
    plain(app, require_auth)
    seen = []

    @app.errorhandler(Exception)
    def handle(error: Exception) -> Any:
        seen.append(error)
        return error if isinstance(error, HTTPException) else ("a fault", 500)

    with serving(app) as base_url:
        status, headers, body = send(base_url, "/")
    assert (status, body["error"]) == (401, "unauthorized")
    assert headers["www-authenticate"] == 'Bearer realm="api"'
    assert isinstance(seen[0], ValidatorError) and seen[0].code == 401


def test_a_handler_for_the_status_is_not_called(require_auth: RequireAuth) -> None:
    app = Flask(__name__)
    plain(app, require_auth)
    app.register_error_handler(401, lambda _: ("never", 418))
    with serving(app) as base_url:
        assert send(base_url, "/")[0] == 401


def test_no_identity_is_left_after_its_request(require_auth: RequireAuth) -> None:
    app = Flask(__name__)
    plain(app, require_auth)
    app.add_url_rule("/public", view_func=whoami)
    with app.app_context():
        client = app.test_client()
        assert client.get("/", headers=AUTHORIZATION).json == "1"
        assert client.get("/public").json is None
        assert not current_token()
        assert not list(g)


def test_a_rejected_check_removes_the_identity_of_an_earlier_one(
    require_auth: RequireAuth, upstream: Upstream
) -> None:
    app = Flask(__name__)

    @app.get("/")
    @require_auth
    def view() -> Response:
        upstream.answer({"active": False})
        with pytest.raises(ValidatorError):
            require_auth.check()
        return whoami()

    with serving(app) as base_url:
        assert send(base_url, "/", TOKEN)[::2] == (200, None)


def test_flasks_test_client_works(require_auth: RequireAuth) -> None:
    app = Flask(__name__)
    app.testing = True  # exceptions propagate, but a refusal is no exception to the client
    plain(app, require_auth)
    with app.test_client() as client:
        assert client.get("/").status_code == 401
        assert client.get("/", headers=AUTHORIZATION).json == "1"
        assert current_token()["sub"] == "1"  # the client keeps its last request


@pytest.fixture(scope="session")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the application of Flask's own tutorial, which its source distribution holds."""
    folder = tmp_path_factory.mktemp("tutorial")
    name = f"flask-{version('flask')}"
    pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "flask")
    subprocess.run([*pip, f"flask=={version('flask')}", "-d", str(folder)], check=True)
    with tarfile.open(folder / f"{name}.tar.gz") as archive:
        # Debian 12's Python 3.11.2 has no filters; the archive is Flask's own.
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    return folder / name / "examples/tutorial"


AUTHENTICATIONS = {
    "api-basic-authentication": (
        "from .client_authentication import ClientSecretBasic",
        "ClientSecretBasic(environ['API_CLIENT_ID'], environ['API_CLIENT_SECRET'])",
    ),
    "api-jwt": (
        "from .client_authentication import PrivateKeyJWT; import json",
        "PrivateKeyJWT(key['clientId'], key['keyId'], key['key'], environ['ZITADEL_DOMAIN'])",
    ),
}


@pytest.mark.parametrize("api", APIS)
def test_a_view_of_flasks_tutorial_is_protected(
    api: str, tutorial: Path, suite: Suite, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tutorial, tmp_path / "tutorial"))
    for file in ("validator.py", "introspection.py", "client_authentication.py"):
        shutil.copy(suite.folder / api / file, folder / "flaskr")
    shutil.copy(ROOT / "api-jwt/introspection_cache.py", folder / "flaskr")
    validator = folder / "flaskr/validator.py"
    validator.write_text(validator.read_text().replace("from introspection", "from .introspection"))
    imported, authentication = AUTHENTICATIONS[api]
    blog = folder / "flaskr/blog.py"
    protected = '@bp.route("/")\n@require_auth("read:messages")\n'
    blog.write_text(
        f"""
from os import environ
from cachelib import SimpleCache
{imported}
from .introspection import TokenIntrospection
from .introspection_cache import CachedIntrospection
from .validator import ZitadelIntrospectTokenValidator

key = json.loads(environ["KEY"]) if "KEY" in environ else None
introspection = TokenIntrospection(
    environ["ZITADEL_DOMAIN"] + "/oauth/v2/introspect",
    {authentication},
)
require_auth = ZitadelIntrospectTokenValidator(CachedIntrospection(introspection, SimpleCache()))
"""
        + blog.read_text().replace('@bp.route("/")\n', protected)
    )
    assert protected in blog.read_text()
    variables = environment_of(suite, api)
    init = run(folder, "-m", "flask", "--app", "flaskr", "init-db", **variables)
    assert init.returncode == 0, init.stderr

    command = ("-m", "flask", "--app", "flaskr", "run", "--port")
    token = dotenv_values(suite.folder / "service-user-pat/.env")["PERSONAL_ACCESS_TOKEN"]
    with running_api(folder, command, **variables) as base_url:
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.get(base_url, headers=headers, timeout=10)
        assert (answer.status_code, "Posts" in answer.text) == (200, True)
        assert requests.get(base_url, timeout=10).status_code == 401
        headers["Authorization"] += "x.y"
        assert requests.get(base_url, headers=headers, timeout=10).status_code == 401
        assert requests.get(f"{base_url}/auth/login", timeout=10).status_code == 200
        created = requests.get(f"{base_url}/create", allow_redirects=False, timeout=10)
        assert created.headers["Location"] == "/auth/login"


def environment_of(suite: Suite, api: str) -> dict[str, str]:
    """Return the variables of an API's `.env`, and its key as KEY."""
    values = dotenv_values(suite.folder / api / ".env")
    variables = {name: value for name, value in values.items() if value}
    key_file = suite.folder / api / "api-key-file.json"
    return variables | ({"KEY": key_file.read_text()} if key_file.exists() else {})
