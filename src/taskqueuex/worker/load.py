"""Finds the app that `module:app` names."""

import importlib

from taskqueuex.app import App

__all__ = ["AppNotFound", "load_app"]


class AppNotFound(ValueError):
    """There is no app of that name; the message says what there is."""


def load_app(path: str) -> App:
    """The app of `module:attribute` (`app` by default). Raises AppNotFound.

    What the module itself raises is not caught: it says best what is wrong.
    """
    module_name, _, attribute = path.partition(":")
    attribute = attribute or "app"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name and not module_name.startswith(f"{error.name}."):
            raise
        raise AppNotFound(
            f"there is no module {error.name!r}, looked for from here and on sys.path"
        ) from error
    found = getattr(module, attribute, None)
    if isinstance(found, App):
        return found
    apps = [name for name, value in vars(module).items() if isinstance(value, App)]
    hint = f"; it has {', '.join(apps)}" if apps else ""
    raise AppNotFound(f"module {module_name!r} has no app named {attribute!r}{hint}")
