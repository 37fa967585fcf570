"""What `--runner=FlinkRunner` needs before Beam can start a job server for it."""

import os
import shutil
from pathlib import Path

from apache_beam.options import pipeline_options

from clipseed.errors import InputError

# Where `python -m engines.flink_jars` puts it.
_JOB_SERVER = Path(__file__).resolve().parents[2] / ".cache/flink/job-server.jar"
_IN_PROCESS = ("[local]", "[auto]")


def flink_defaults(flags: list[str], jar: Path = _JOB_SERVER) -> list[str]:
    """Beam flags for a run on Flink: the job server's jar, and how many workers.

    Other runners' flags, and those of a run by a job server that is up already, are
    given back as they are.

    Args:
        flags: Beam's.
        jar: of the job server, where one was fetched.

    Raises:
        InputError: `no_java` or `no_job_server`: Beam could not start one.
    """
    options = pipeline_options.PipelineOptions(flags)
    flink = options.view_as(pipeline_options.FlinkRunnerOptions)
    runner = options.view_as(pipeline_options.StandardOptions).runner
    portable = options.view_as(pipeline_options.PortableOptions)
    if runner != "FlinkRunner" or portable.job_endpoint:
        return flags
    if shutil.which("java") is None:
        raise InputError(
            "no_java",
            "--runner=FlinkRunner starts Beam's job server, which needs java 11 or 17 "
            "on PATH: install one (Debian: apt-get install openjdk-17-jre-headless)",
        )
    added = []
    if not flink.flink_job_server_jar:
        if not jar.exists():
            raise InputError(
                "no_job_server",
                "--runner=FlinkRunner needs the jar of Beam's job server: fetch it by "
                "`.venv/bin/python -m engines.flink_jars` in Clipseed's checkout, or "
                "name one by --flink_job_server_jar=PATH_OR_URL",
            )
        added.append(f"--flink_job_server_jar={jar}")
    if flink.flink_master in _IN_PROCESS and flink.parallelism < 1:
        added.append(f"--parallelism={len(os.sched_getaffinity(0))}")
    return flags + added
