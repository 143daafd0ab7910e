"""The web page: files that `make dashboard` builds from `dashboard/`, and how a browser is to treat them.

It speaks nothing but the public interface, with the rights of whoever has signed in. All it loads comes from
this server, and nothing inline runs: what a task's error says can never become a script.
"""

from taskqueuex.dashboard.files import load_pages

__all__ = ["load_pages"]
