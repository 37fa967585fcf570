"""Settings in frozen dataclasses, each field overridable by its dotted path.

    config = override(config, ["model.clips.layers=2", "optimizer.learning_rate=1e-3"])
    json.dumps(as_json(config))

Values are Python literals; what is none is text.
"""

import ast
import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from clipseed.errors import InputError

_Config = TypeVar("_Config")


def override(config: _Config, settings: Sequence[str]) -> _Config:
    """Replaces fields of a tree of dataclasses.

    Args:
        config: not changed.
        settings: `path.of.field=value`; elements of tuples go by number.

    Raises:
        InputError: `bad_override`, saying which names there are or which type belongs.
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise InputError(
                "bad_override", f"{setting!r} has no value: write FIELD=VALUE"
            )
        config = _set(config, path.split("."), _value(text), path)
    return config


def as_json(config: Any) -> Any:
    """A tree of dataclasses as dicts and lists, with each dataclass's name."""
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
            "bad_override", f"no field {whole!r}: {name!r} is none of {known}"
        )
    old = getattr(node, name)
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
    """The value, if it can stand where the old one stood."""
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if isinstance(old, tuple) and isinstance(value, list):
        value = tuple(value)
    if isinstance(old, str) and not isinstance(value, str):
        value = str(value)
    if old is not None and type(value) is not type(old):
        wanted = type(old).__name__
        raise InputError(
            "bad_override", f"{path} is a {wanted}, which {value!r} is not"
        )
    return value


def from_json(like: Any, data: dict[str, Any]) -> Any:
    """The inverse of `as_json`.

    Args:
        like: a configuration of the same class; what `data` lacks stays as it is here.
        data: what `as_json` gave. Where a field may hold one of several classes, the
            one that it names is made.

    Raises:
        InputError: `bad_config` for a field or a class that there is not.
    """
    return dataclasses.replace(like, **_read_fields(type(like), data))


def _read_fields(kind: type, data: dict[str, Any]) -> dict[str, Any]:
    kinds = typing.get_type_hints(kind)
    unknown = data.keys() - kinds.keys() - {"class"}
    if unknown:
        raise InputError(
            "bad_config",
            f"{', '.join(sorted(unknown))} is no setting of this version's "
            f"{kind.__name__}",
        )
    return {n: _read(kinds[n], value) for n, value in data.items() if n != "class"}


def _read(annotation: Any, value: Any) -> Any:
    """A value of JSON as what an annotation says."""
    if isinstance(value, list):
        items = typing.get_args(annotation)
        return tuple(_read(items[0] if items else None, item) for item in value)
    if not isinstance(value, dict):
        return value
    possible = (annotation, *typing.get_args(annotation))
    kinds = {kind.__name__: kind for kind in possible if isinstance(kind, type)}
    kind = kinds.get(value.get("class", ""))
    if kind is None:
        raise InputError(
            "bad_config",
            f"this version knows {', '.join(kinds)} there, not {value.get('class')!r}",
        )
    return kind(**_read_fields(kind, value))
