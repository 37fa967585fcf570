"""Errors that an input can cause, and their record."""

from typing import NamedTuple


class InputError(Exception):
    """An input that cannot be used, with a reason that a user can act on.

    Steps catch this class only: any other exception is a bug and stops the job.

    Attributes:
        reason: a stable snake_case name, counted in `run.json`.
        message: what failed, why, and what to do about it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


class DeadLetter(NamedTuple):
    """The record of one input that a stage dropped.

    Attributes:
        stage: name of the stage.
        key: identifies the input: a reference, an id, or a table's row.
        reason: as in `InputError`.
        message: as in `InputError`.
    """

    stage: str
    key: str
    reason: str
    message: str
