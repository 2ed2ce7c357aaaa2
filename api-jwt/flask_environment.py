"""The environment as this process was started, before the flask command added to it."""

import os
from pathlib import Path

from dotenv import find_dotenv
from flask.helpers import get_load_dotenv

from settings import Values, distrust, read


def without_files() -> Values:
    """Return the environment without what `flask run` loaded from files.

    It has put the nearest `.flaskenv` and `.env` into the environment, whoever wrote
    them, and has expanded `${…}`. That is taken out again, also for child processes,
    except for Flask's own variables from files that nobody else can change. Raises
    settings.ConfigurationError if one of these files can't be read.
    """
    is_loaded_by_flask = "FLASK_RUN_FROM_CLI" in os.environ and get_load_dotenv()
    kinds = (".flaskenv", ".env") if is_loaded_by_flask else ()
    for file in filter(None, (find_dotenv(kind, usecwd=True) for kind in kinds)):
        is_trusted = distrust(Path(file)) == ""
        for name, value in read(Path(file)).items():
            # What had ${…} was expanded, and no longer equals the file's text.
            is_loaded = value and ("${" in value or os.environ.get(name) == value)
            if is_loaded and not (is_trusted and name.startswith("FLASK_")):
                os.environ.pop(name, None)

    return os.environ
