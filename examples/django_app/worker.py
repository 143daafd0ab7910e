"""What the worker loads: `tqx worker worker`, in this directory. Django is set up before the tasks are."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from shop.tasks import app  # noqa: E402  # models can be imported from now on

__all__ = ["app"]
