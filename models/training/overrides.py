"""Settings in frozen dataclasses, each field overridable by its dotted path.

    config = override(config, ["model.clips.layers=2", "optimizer.learning_rate=1e-3"])
    json.dumps(as_json(config))

Values are Python literals, or else text.
"""

import ast
import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from clipseed.errors import InputError

_Config = TypeVar("_Config")


def override(config: _Config, settings: Sequence[str]) -> _Config:
    """Replace fields of a tree of dataclasses.

    Args:
        config: stays unchanged.
        settings: `path.of.field=value`; an element of a tuple is named by its number.

    Raises:
        InputError: `bad_override`, naming the fields that exist or the type expected.
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise InputError(
                "bad_override", f"{setting!r} has no value; write FIELD=VALUE"
            )
        config = _set(config, path.split("."), _value(text), path)
    return config


def as_json(config: Any) -> Any:
    """Return a tree of dataclasses as dicts and lists, with each dataclass's name."""
    if dataclasses.is_dataclass(config):
        fields = {f.name: as_json(getattr(config, f.name)) for f in _fields(config)}
        return {"class": type(config).__name__, **fields}
    if isinstance(config, tuple | list):
        return [as_json(item) for item in config]
    return config


def _set(node: Any, path: list[str], value: Any, whole: str) -> Any:
    name, *rest = path
    if isinstance(node, tuple) and name.isdigit() and int(name) < len(node):
        index = int(name)
        new = _set(node[index], rest, value, whole) if rest else value
        return (*node[:index], new, *node[index + 1 :])
    names = [f.name for f in _fields(node)] if dataclasses.is_dataclass(node) else []
    if name not in names:
        known = ", ".join(names) if names else "nothing below it"
        raise InputError(
            "bad_override", f"no field {whole!r}: {name!r} is not one of {known}"
        )
    old = getattr(node, name)
    if not rest and typing.get_type_hints(type(node))[name] is float:
        old = float(old)  # A configuration may spell it as a whole number.
    new = _set(old, rest, value, whole) if rest else _like(old, value, whole)
    return dataclasses.replace(node, **{name: new})


def _fields(node: Any) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(node)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _like(old: Any, value: Any, path: str) -> Any:
    """Return the value as the type of the old one, if it can be."""
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if isinstance(old, tuple) and isinstance(value, list):
        value = tuple(value)
    if isinstance(old, str) and not isinstance(value, str):
        value = str(value)
    if old is not None and type(value) is not type(old):
        wanted = type(old).__name__
        raise InputError(
            "bad_override", f"{path} is of type {wanted}, which {value!r} is not"
        )
    return value


def from_json(like: _Config, data: dict[str, Any]) -> _Config:
    """Return the configuration that `as_json` described.

    Args:
        like: a configuration of the same class; fields that `data` lacks stay as here.
        data: from `as_json`. Where a field may hold one of several classes, the named
            one is made: a class of the annotation, or that of the field of `like`.

    Raises:
        InputError: `bad_config` for a field or a class that does not exist.
    """
    changes: dict[str, Any] = _read_fields(type(like), data, like)
    return dataclasses.replace(like, **changes)  # type: ignore[type-var]


def _read_fields(kind: type, data: dict[str, Any], like: Any) -> dict[str, Any]:
    kinds = typing.get_type_hints(kind)
    unknown = data.keys() - kinds.keys() - {"class"}
    if unknown:
        raise InputError(
            "bad_config",
            f"{', '.join(sorted(unknown))} is not a setting of this version's "
            f"{kind.__name__}",
        )
    return {
        name: _read(kinds[name], value, getattr(like, name, None))
        for name, value in data.items()
        if name != "class"
    }


def _read(annotation: Any, value: Any, like: Any) -> Any:
    """Return a value of JSON as its annotation says."""
    if isinstance(value, list):
        items = typing.get_args(annotation)
        return tuple(_read(items[0] if items else None, item, None) for item in value)
    if not isinstance(value, dict):
        return value
    possible = (annotation, *typing.get_args(annotation), type(like))
    kinds = {
        kind.__name__: kind
        for kind in possible
        if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    }
    kind = kinds.get(value.get("class", ""))
    if kind is None:
        raise InputError(
            "bad_config",
            f"this version knows {', '.join(kinds)} there, not {value.get('class')!r}",
        )
    return kind(**_read_fields(kind, value, like))
