"""A checkpoint brings its own settings: these win over defaults, and refuse others.

    published = bert_config(read_config(directory, ["bert"]))
    text = adopt("task.model.text", task.model.text, published, BertConfig())

What a user set and the checkpoint contradicts is an error, unless it is free to differ;
what is free, and what replaces a default, is logged.
"""

import dataclasses
import logging
from collections.abc import Collection
from typing import Any, TypeVar

from clipseed.errors import InputError

_Config = TypeVar("_Config")


def adopt(
    name: str,
    given: _Config,
    published: _Config,
    default: _Config,
    free: Collection[str] = (),
) -> _Config:
    """Return the settings to build a model with.

    Args:
        name: of the settings, for messages, such as `task.model.text`.
        given: a dataclass, as the user set it.
        published: the same, by the checkpoint.
        default: the same, where nobody set anything.
        free: fields that may differ from the checkpoint's, at any depth.

    Raises:
        InputError: `bad_config`, naming what the checkpoint contradicts.
    """
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(given):  # type: ignore[arg-type]
        ours, theirs, usual = (
            getattr(config, field.name) for config in (given, published, default)
        )
        place = f"{name}.{field.name}"
        if dataclasses.is_dataclass(theirs):
            changes[field.name] = adopt(place, ours, theirs, usual, free)
        else:
            changes[field.name] = adopt_value(
                place, ours, theirs, usual, field.name in free
            )
    return dataclasses.replace(given, **changes)  # type: ignore[type-var]


def adopt_value(
    name: str, ours: Any, theirs: Any, usual: Any, free: bool = False
) -> Any:
    """Return one setting: the checkpoint's, or the user's where it is free.

    Raises:
        InputError: `bad_config` if the user set another and it is not free.
    """
    if ours == theirs:
        return ours
    if ours == usual:
        logging.info("%s: %s, as the checkpoint has it", name, theirs)
        return theirs
    if free:
        logging.info("%s: %s; the checkpoint has %s, fitted", name, ours, theirs)
        return ours
    raise InputError(
        "bad_config",
        f"{name} is {ours}, but the checkpoint was made with {theirs}: leave it out",
    )
