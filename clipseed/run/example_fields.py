"""Typed access to a SequenceExample; errors name what is missing or mistyped."""

from typing import Any

import numpy as np

from clipseed.errors import InputError


def bad_record(message: str) -> InputError:
    """Return the error to raise for a record that cannot be used."""
    return InputError("bad_record", f"A clip record cannot be read: {message}.")


class Fields:
    """Typed access to a SequenceExample; errors name the key."""

    def __init__(self, example: Any) -> None:
        self._context = example.context.feature
        self._lists = example.feature_lists.feature_list

    def __contains__(self, key: str) -> bool:
        """Return whether a context key is there."""
        return key in self._context

    def values(self, key: str, kind: str) -> list:
        """Return all values of a context key."""
        if key not in self._context:
            raise bad_record(f"{key} is missing")
        found = self._context[key].WhichOneof("kind")
        if found != kind:
            raise bad_record(f"{key} is a {found}, not a {kind}")
        return list(getattr(self._context[key], kind).value)

    def _one(self, key: str, kind: str) -> Any:
        values = self.values(key, kind)
        if len(values) != 1:
            raise bad_record(f"{key} has {len(values)} values, not 1")
        return values[0]

    def integer(self, key: str) -> int:
        """Return the one int64 of a context key."""
        return self._one(key, "int64_list")

    def number(self, key: str) -> float:
        """Return the one float of a context key."""
        return self._one(key, "float_list")

    def text(self, key: str) -> str:
        """Return the one UTF-8 text of a context key."""
        return _utf8(key, self._one(key, "bytes_list"))

    def texts(self, key: str) -> list[str]:
        """Return all UTF-8 texts of a context key."""
        return [_utf8(key, value) for value in self.values(key, "bytes_list")]

    def _steps(self, key: str) -> Any:
        if key not in self._lists:
            raise bad_record(f"{key} is missing")
        return self._lists[key].feature

    def blobs(self, key: str) -> tuple[bytes, ...]:
        """Return one bytes value per step, such as a JPEG."""
        steps = [step.bytes_list.value for step in self._steps(key)]
        if any(len(step) != 1 for step in steps):
            raise bad_record(f"a step of {key} is not one value")
        return tuple(step[0] for step in steps)

    def floats(self, key: str) -> np.ndarray:
        """Return float32 [steps, n]; [0, 0] if there are no steps."""
        steps = [
            np.fromiter(step.float_list.value, np.float32) for step in self._steps(key)
        ]
        if len({len(step) for step in steps}) > 1:
            raise bad_record(f"the steps of {key} differ in length")
        return np.stack(steps) if steps else np.zeros((0, 0), np.float32)


def _utf8(key: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise bad_record(f"{key} is not UTF-8") from error
