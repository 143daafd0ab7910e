"""Why a command ends without having done its work, and with which exit code."""

from typing import Any, Final

__all__ = [
    "CONFLICT",
    "INTERRUPTED",
    "NOT_FOUND",
    "OK",
    "PIPE_CLOSED",
    "REFUSED",
    "UNREACHABLE",
    "USAGE",
    "ApiError",
    "Failure",
    "Unreachable",
]

OK: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
CONFLICT: Final = 4
UNREACHABLE: Final = 5
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141

_CODES = {400: USAGE, 404: NOT_FOUND, 409: CONFLICT, 410: NOT_FOUND, 415: USAGE, 422: USAGE}


class Failure(Exception):
    """Something to tell in one line on standard error; `exit_code` is the process's."""

    def __init__(self, message: str, exit_code: int = REFUSED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Unreachable(Failure):
    """Nobody answered."""

    def __init__(self, message: str) -> None:
        super().__init__(message, UNREACHABLE)


class ApiError(Failure):
    """The server answered with a problem."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        detail = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
        fields = "; ".join(f"{each['field']}: {each['message']}" for each in problem.get("errors", []))
        shown = fields if fields and fields not in detail else detail
        unknown = " (it may have been applied)" if problem.get("outcome") == "unknown" else ""
        hint = " (see --token-file)" if self.code == "unauthenticated" else ""
        super().__init__(f"{shown}{unknown} [{self.code or status}]{hint}", _CODES.get(status, REFUSED))
