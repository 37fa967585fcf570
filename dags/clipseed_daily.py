"""Mine each day's uploads, publish runs that pass their checks, train on new pairs.

    list_uploads ─► mine ─► check ─► publish ─► train

A day without uploads is skipped; a run that fails its checks is not published. The
parameters' defaults are set once in the scheduler's environment (`CLIPSEED_DAILY_SEEDS`
for `seeds`, and so on), and any run may override them. Airflow's own interpreter does
not need Clipseed: `CLIPSEED_DAILY_PYTHON` names the one that has it. Mining starts with
the day `CLIPSEED_DAILY_START` (an ISO date), or with today.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator, CronDataIntervalTimetable, Param
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)

_HERE = Path(__file__).resolve().parent
_PYTHON = os.environ.get(
    "CLIPSEED_DAILY_PYTHON", str(_HERE.parent / ".venv" / "bin" / "python")
)
_START = os.environ.get("CLIPSEED_DAILY_START")
_REFUSED, _NOTHING = 2, 99  # exit statuses of daily_steps.py
_RUN = "{{ ti.xcom_pull(task_ids='list_uploads')['output'] }}"


def _param(name: str, default: Any, description: str, **schema: Any) -> Param:
    """Make a parameter whose default the scheduler's environment may replace."""
    given = os.environ.get(f"CLIPSEED_DAILY_{name.upper()}")
    if given is not None:
        default = given if isinstance(default, str) else json.loads(given)
    return Param(default, description=description, **schema)


class StepOperator(BaseOperator):
    """Runs a step of daily_steps.py by the pipeline's interpreter.

    Args:
        arguments: of the command line (templated).
    """

    template_fields = ("arguments",)

    def __init__(self, *, arguments: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self._hook = SubprocessHook()

    def execute(self, context: Any) -> Any:
        """Give the step's result; the last line that it prints."""
        command = [_PYTHON, str(_HERE / "daily_steps.py"), *self.arguments]
        done = self._hook.run_command(command, cwd=str(_HERE))
        if done.exit_code == _NOTHING:
            raise AirflowSkipException(done.output)
        if done.exit_code == _REFUSED:  # Trying again would end the same.
            raise AirflowFailException(done.output)
        if done.exit_code:
            raise AirflowException(done.output)
        return json.loads(done.output)

    def on_kill(self) -> None:
        """End the step with its task."""
        self._hook.send_sigterm()


def _step(name: str, *arguments: str, **settings: Any) -> StepOperator:
    output = "--output={{ params.output }}"
    command = [name.split("_")[0], output, *arguments]
    return StepOperator(task_id=name, arguments=command, **settings)


_PARAMS = {
    "seeds": _param("seeds", "", "captioned images: whole path or gs://"),
    "videos": _param("videos", "", "the corpus: a manifest with upload dates"),
    "output": _param("output", "", "folder of latest.json, manifests/ and runs/"),
    "delay_days": _param("delay_days", 0, "mine what was uploaded so many days before "
        "the interval (the paper: 90)", type="integer", minimum=0),
    "runner": _param("runner", "FnApiRunner", "Beam runner: FnApiRunner (in process), "
        "FlinkRunner, DataflowRunner"),
    "embedder": _param("embedder", "descriptor", "see clipseed mine --help"),
    "threshold": _param("threshold", 0.6, "τ", type="number"),
    "mine_flags": _param("mine_flags", {}, "more flags of clipseed mine and of the "
        'runner, such as {"temp_location": "gs://bucket/tmp"}', type="object"),
    "project": _param("project", "", "of Dataflow"),
    "region": _param("region", "us-central1", "of Dataflow"),
    "min_match_rate": _param("min_match_rate", 0.5, "least match rate, as a part of "
        "the last runs' median", type="number", minimum=0),
    "last_runs": _param("last_runs", 7, "runs to compare with", type="integer",
        minimum=1),
    "min_expected": _param("min_expected", 20, "matches; where fewer are expected, the "
        "rate is not judged", type="number", minimum=0),
    "train_config": _param("train_config", "base", "of clipseed train"),
    "train_settings": _param("train_settings", [], "FIELD=VALUE, each as --set",
        type="array"),
    "models": _param("models", "", "folder of training runs (default: in output)"),
    "min_new_pairs": _param("min_new_pairs", 10_000, "that a training waits for",
        type="integer", minimum=1),
}  # fmt: skip

with DAG(
    "clipseed_daily",
    description="Mine, check, publish and train on each day's uploads",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime.fromisoformat(_START).replace(tzinfo=UTC) if _START else None,
    catchup=_START is not None,  # Then a scheduler that was down forgets no day.
    params=_PARAMS,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
    },
) as dag:
    day = "--day={{ data_interval_start | ds }}"
    list_uploads = _step(
        "list_uploads",
        day,
        "--seeds={{ params.seeds }}",
        "--videos={{ params.videos }}",
        "--delay_days={{ params.delay_days }}",
        "--mine_flags={{ params.mine_flags | tojson }}",
    )
    mine = BeamRunPythonPipelineOperator(
        task_id="mine",
        py_file=str(_HERE / "mine_job.py"),
        py_interpreter=_PYTHON,
        runner="{{ params.runner }}",
        default_pipeline_options=list_uploads.output,
        pipeline_options={
            "embedder": "{{ params.embedder }}",
            "threshold": "{{ params.threshold }}",
            "overwrite": True,
        },
        dataflow_config={
            "job_name": "clipseed-mine",
            "project_id": "{{ params.project }}",
            "location": "{{ params.region }}",
        },
        max_active_tis_per_dag=1,
    )
    check = _step(
        "check",
        day,
        f"--run={_RUN}",
        "--min_match_rate={{ params.min_match_rate }}",
        "--last_runs={{ params.last_runs }}",
        "--min_expected={{ params.min_expected }}",
    )
    # One at a time, because each reads the pointer and then replaces it.
    publish = _step("publish", day, f"--run={_RUN}", max_active_tis_per_dag=1)
    train = _step(
        "train",
        "--config={{ params.train_config }}",
        "--set={{ params.train_settings | tojson }}",
        "--models={{ params.models }}",
        "--min_new_pairs={{ params.min_new_pairs }}",
        max_active_tis_per_dag=1,
    )
    list_uploads >> mine >> check >> publish >> train
