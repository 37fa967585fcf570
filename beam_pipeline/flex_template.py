"""The flex template of `clipseed mine`: its parameters, and its launch.

python -m beam_pipeline.flex_template > flex_template/metadata.json

A flex template's parameters arrive as `--name=value`, switches as `--name=true`, which
the parser takes as it takes `--name`. The launcher adds Dataflow's flags, among them a
`--template_location` in which it looks for the job that was built.
"""

import datetime
import json
import os
import re
from collections.abc import Sequence
from typing import Any

from beam_pipeline.mining.config import COMMAND_LINE
from clipseed.flags import Flag, flags_of

# Set by the Dockerfile: the worker image that was built with the launcher.
_IMAGE = "CLIPSEED_WORKER_IMAGE"
_BY_KIND = {
    bool: "true|false",
    int: r"[+-]?[0-9]+",
    float: r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?",
    datetime.date: r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
}
_NONE = "[nN][oO][nN][eE]"


def metadata() -> dict[str, Any]:
    """Return what `gcloud dataflow flex-template build --metadata-file` takes."""
    return {
        "name": "Clipseed: mine",
        "description": COMMAND_LINE.description,
        "parameters": [parameter(flag) for flag in flags_of(COMMAND_LINE.flags)],
    }


def as_json() -> str:
    """Return the text of `flex_template/metadata.json`, less its last line end."""
    return json.dumps(metadata(), indent=2, ensure_ascii=False)


def parameter(flag: Flag) -> dict[str, Any]:
    """Return a flag as a parameter of the template."""
    pattern = _pattern(flag)
    described = {
        "name": flag.name,
        "label": flag.name.replace("_", " ").capitalize(),
        "helpText": flag.help,
        "paramType": "TEXT",
        "isOptional": not flag.required,
    }
    return described | ({"regexes": [f"^({pattern})$"]} if pattern else {})


def _pattern(flag: Flag) -> str:
    """Return the regular expression of a value; "" where anything is allowed."""
    details = flag.details
    if flag.choices:
        return "|".join(map(re.escape, flag.choices))
    if details.remote:  # The launcher and the workers cannot reach other files.
        return f"({'|'.join(details.remote)})://.+"
    pattern = details.pattern or _BY_KIND.get(flag.kind, "")
    return f"{pattern}|{_NONE}" if pattern and flag.accepts_none else pattern


def launch(parameters: Sequence[str]) -> int:
    """Build the job of a template's launch; return the exit status."""
    from beam_pipeline.mine import run

    flags = list(parameters)
    names = {flag.partition("=")[0] for flag in flags}
    usual = {"runner": "DataflowRunner", "sdk_container_image": os.environ.get(_IMAGE)}
    for name, value in usual.items():
        if value and f"--{name}" not in names:
            flags.append(f"--{name}={value}")
    return run(flags)


if __name__ == "__main__":
    print(as_json())
