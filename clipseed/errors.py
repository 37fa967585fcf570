"""Errors that an input can cause, and their record."""

from typing import NamedTuple


class InputError(Exception):
    """An input that cannot be used, with a reason that a user can act on.

    Steps catch this class and no other: anything else is a bug and stops the job.

    Attributes:
        reason: a stable snake_case name, counted in `run.json`.
        message: what is wrong with this input, in words.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


class DeadLetter(NamedTuple):
    """A dead letter: one input that a stage dropped, and why."""

    stage: str
    key: str
    reason: str
    message: str
