"""Embed seed images with the steps of `clipseed mine`, for an index only."""

import collections
import json
import sys

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

import transforms.coders  # noqa: F401  (registers the coders of what is shuffled)
from beam_pipeline.mining import preflight
from beam_pipeline.mining.config import MineConfig
from beam_pipeline.mining.plan import Plan, make_plan
from beam_pipeline.mining.stages import embed_seeds, load_seeds
from beam_pipeline.runners.failures import fault_line, tracebacks_held
from beam_pipeline.runners.local import (
    local_defaults,
    opened_pipeline,
    send_whole_elements_only,
)
from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.io.listing import list_files
from transforms.run.tables import RunTables
from transforms.seeds.build_index import read_seeds_files, write_seeds

_MAX_REJECTED_BYTES = 1 << 30


def embed_seed_files(
    config: MineConfig, dead_letters: str, beam_flags: list[str]
) -> tuple[list[str], np.ndarray]:
    """Load and embed seed images; what is dropped is reported on stderr.

    Args:
        config: what to mine with; its output holds intermediate files and is removed.
        dead_letters: JSON Lines file of the seeds that are dropped; written if there
            are any.
        beam_flags: Beam's own.

    Returns:
        The distinct seeds' ids, and float32 [n, d], unit norm.

    Raises:
        InputError: the seeds cannot be found, or have embeddings of another embedder.
    """
    work = config.output
    try:
        files = preflight.check_seeds(config.seeds)
        plan = make_plan(config, files, preflight.check_embedder(config, files))
    except preflight.ConfigError as error:
        raise InputError("bad_seeds", str(error)) from error
    storage.remove_tree(work)
    try:
        _embed(plan, work, beam_flags)
        _report(work, dead_letters)
        parts = [f for f in _files(work) if f.endswith(".npz")]
        return read_seeds_files(parts)
    finally:
        storage.remove_tree(work)


def _embed(plan: Plan, work: str, beam_flags: list[str]) -> None:
    send_whole_elements_only()
    tables = RunTables(work, 1, plan.info.config_hash)
    options = PipelineOptions(local_defaults(beam_flags))
    try:
        with (
            tracebacks_held(lambda error: bool(fault_line(error))),
            opened_pipeline(options) as pipeline,
            pipeline,
        ):
            loaded = load_seeds(pipeline, plan)
            embedded = embed_seeds(loaded, plan)
            _ = embedded.chunks | "WriteParts" >> beam.Map(write_seeds, work)
            _ = (
                (*loaded.ledger.rejected, *embedded.ledger.rejected)
                | "DeadLetter" >> beam.Flatten()
                | "KeyByKey" >> beam.Map(lambda dropped: (dropped.key, dropped))
                | "WriteRejected" >> tables.rejected()
            )
    except Exception as error:
        line = fault_line(error)
        if not line:
            raise
        raise InputError("job_failed", line) from error


def _files(work: str) -> list[str]:
    try:
        return list_files(work)
    except InputError:
        return []


def _report(work: str, uri: str) -> None:
    """Keep the dead letters and count them by reason."""
    texts = [
        storage.read_bytes(file, _MAX_REJECTED_BYTES)
        for file in _files(work)
        if file.endswith(".jsonl")
    ]
    lines = b"".join(texts)
    if not lines:
        return
    storage.write_bytes(uri, lines)
    reasons = collections.Counter(
        json.loads(line)["reason"] for line in lines.splitlines()
    )
    counts = ", ".join(f"{count} {name}" for name, count in reasons.most_common())
    print(f"dropped {reasons.total()} seeds: {counts}; see {uri}", file=sys.stderr)
