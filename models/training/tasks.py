"""The tasks that can be trained, by the name of their class: one entry each.

Looked up where a training run is read back; importing this imports no model.
"""

import importlib
from typing import Any

from clipseed.errors import InputError
from models.training.task import Task

TASKS = {
    "DualEncoderTask": "models.retrieval.dual_encoder_task",
    "Clip4ClipTask": "models.retrieval.clip4clip_task",
    "AvGpt2Task": "models.captioning.av_gpt2.task",
}


def task_named(name: Any) -> Task:
    """Return a task of the class that is named, with its defaults.

    Raises:
        InputError: `bad_config`.
    """
    if name not in TASKS:
        raise InputError(
            "bad_config", f"this version has the tasks {', '.join(TASKS)}, not {name!r}"
        )
    return getattr(importlib.import_module(TASKS[name]), name)()
