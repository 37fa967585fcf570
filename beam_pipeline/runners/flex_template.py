"""The flex template of `clipseed mine`: its parameters, and its launch.

python -m beam_pipeline.runners.flex_template > flex_template/metadata.json

A flex template's parameters come as `--name=value`, so that a switch has the value
`true` or `false`. The launcher adds Dataflow's flags, among them a
`--template_location` in which it looks for the job that was built.
"""

import argparse
import json
import os
import re
from collections.abc import Sequence
from typing import Any

from beam_pipeline.mining.config import mine_parser

# Set by the Dockerfile: the worker image that was built with the launcher.
_IMAGE = "CLIPSEED_WORKER_IMAGE"
_NUMBER = r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?"
_BY_TYPE = {
    "int": r"[+-]?[0-9]+",
    "float": _NUMBER,
    "int or none": r"[+-]?[0-9]+|[nN][oO][nN][eE]",
    "float or none": rf"{_NUMBER}|[nN][oO][nN][eE]",
    "_date": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
}
# Workers reach no files but these; `beam_pipeline.runners.dataflow` refuses others.
_BY_NAME = {
    "seeds": "gs://.+",
    "videos": "(gs|https?)://.+",
    "output": "gs://.+",
    "denylist": "gs://.+",
    "reuse_embeddings_from": "gs://.+",
    "merge_with": "gs://.+",
    "index": "(gs|grpc)://.+",
    "embedder": "descriptor|(hub|jax):.+",
    "accelerator": "type:[^;]+(;[^;]+)*",
}


def metadata() -> dict[str, Any]:
    """What `gcloud dataflow flex-template build --metadata-file` takes."""
    parser = mine_parser()
    return {
        "name": "Clipseed: mine",
        "description": "Mines video clips for the captions of images (VideoCC, section "
        "3): seed images and videos in buckets to clip-caption pairs.",
        "parameters": [
            parameter(action)
            for action in parser._actions
            if not isinstance(action, argparse._HelpAction)
        ],
    }


def as_json() -> str:
    """The text of `flex_template/metadata.json`, less its last line end."""
    return json.dumps(metadata(), indent=2, ensure_ascii=False)


def parameter(action: argparse.Action) -> dict[str, Any]:
    """A flag as a parameter of the template."""
    name = _name(action)
    described = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": _help(action),
        "paramType": "TEXT",
        "isOptional": not action.required,
    }
    pattern = _pattern(action)
    return described | ({"regexes": [f"^({pattern})$"]} if pattern else {})


def _name(action: argparse.Action) -> str:
    return action.option_strings[0].removeprefix("--")


def _help(action: argparse.Action) -> str:
    text = (action.help or _name(action).replace("_", " ")).strip()
    if action.choices:
        text += f" (one of {', '.join(action.choices)})"
    default = action.default
    if _is_switch(action):
        default = "true" if default and action.const is not False else "false"
    if default not in (None, "") and "default:" not in text:
        text += f" (default: {default})"
    return text


def _pattern(action: argparse.Action) -> str | None:
    if _is_switch(action):
        return "true|false"
    if action.choices:
        return "|".join(re.escape(choice) for choice in action.choices)
    if action.type is not None:
        return _BY_TYPE[getattr(action.type, "__name__", "")]
    return _BY_NAME.get(_name(action))


def _is_switch(action: argparse.Action) -> bool:
    return action.nargs == 0


def to_flags(parameters: Sequence[str]) -> list[str]:
    """Parameters as the launcher gives them, as flags of `clipseed mine`.

    Example:
        >>> to_flags(["--overwrite=true", "--require_sound=false", "--top_k=3"])
        ['--overwrite', '--top_k=3']
    """
    switches = {_name(a): a for a in mine_parser()._actions if _is_switch(a)}
    flags: list[str] = []
    for given in parameters:
        name, _, value = given.removeprefix("--").partition("=")
        if name not in switches or value not in ("true", "false"):
            flags.append(given)
        elif value == "true":
            flags.append(f"--{name}")
        else:  # The one that undoes it, where there is one.
            flags += switches[name].option_strings[1:]
    return flags


def launch(parameters: Sequence[str]) -> int:
    """Builds the job of a template's launch; gives the exit status."""
    from beam_pipeline.mine import run

    flags = to_flags(parameters)
    names = {flag.partition("=")[0] for flag in flags}
    usual = {"runner": "DataflowRunner", "sdk_container_image": os.environ.get(_IMAGE)}
    for name, value in usual.items():
        if value and f"--{name}" not in names:
            flags.append(f"--{name}={value}")
    return run(flags)


if __name__ == "__main__":
    print(as_json())
