"""Every error a user can meet.

HomologError            has a message, a hint, an exit code
├── BadInput        (2) the user can mend it: a file, a flag, a value
│   ├── UnreadableFile      missing, truncated, not what its name says
│   ├── UnwritableFile      no permission, no room, a folder in the way
│   ├── UnknownFrame        a file that does not say which frame it is in
│   ├── SpaceMismatch       two spaces that do not meet
│   ├── GridMismatch        two arrays that should share a grid and do not
│   └── NotEnoughMemory     the estimate exceeds what is free
└── WorkFailed      (1) the input was fine, the work did not succeed
"""

from __future__ import annotations


class HomologError(Exception):
    """An error with a way out: `message` names the thing, what was wanted and what came; `hint` can be pasted."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class BadInput(HomologError):
    exit_code = 2


class UnreadableFile(BadInput):
    pass


class UnwritableFile(BadInput):
    pass


class UnknownFrame(BadInput):
    pass


class SpaceMismatch(BadInput):
    pass


class GridMismatch(BadInput):
    pass


class NotEnoughMemory(BadInput):
    pass


class WorkFailed(HomologError):
    pass
