"""What is checked before any work starts, so that a wrong flag costs seconds."""

import dataclasses
import datetime
import logging
from collections.abc import Sequence
from typing import Protocol

from beam_pipeline.mining.config import MineConfig
from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.io.http import is_web
from clipseed.io.listing import list_files
from clipseed.io.tables import table_format
from clipseed.run import files
from clipseed.run.reader import Run, is_run
from models.embedders.base import Embedder
from models.embedders.registry import load_embedder, pin_embedder
from transforms.frames.embedding_cache import FOLDER, kept_in, tidy
from transforms.run.manifest import AS_OF, SEEDS_FOLDER
from transforms.seeds.formats import list_seed_files, seed_embedding_info

# Everything that a run writes, and `clipseed inspect` after it; nothing else in an
# output directory is ever touched.
RUN_ENTRIES = (
    files.RUN_JSON,
    files.PAIRS_CSV,
    files.PAIRS,
    files.MATCHES,
    files.CLIPS,
    files.REJECTED,
    files.VIDEOS,
    files.SEEDS,
    files.INDEX,
    "work",
    "contact_sheet.png",
)


class ConfigError(Exception):
    """A job that cannot start, and what to do about it."""


def check_embedder(config: MineConfig, seed_files: list[str]) -> Embedder:
    """Load the embedder and hold it against the embeddings that seeds bring along.

    One bad table among many is left to the job, which has a dead letter for it.

    Raises:
        ConfigError: it cannot be loaded, or is not what made them.
        InputError: `unreadable_table`: it is the only one.
    """
    try:
        embedder = load_embedder(config.embedder)
    except ValueError as error:
        raise ConfigError(f"--embedder: {error}") from error
    for uri in seed_files:
        try:
            info = seed_embedding_info(uri)
        except InputError:
            if len(seed_files) == 1:
                raise
            continue
        if info is None:
            continue
        if info.dimension != embedder.dimension:
            raise ConfigError(
                f"{uri} holds embeddings of dimension {info.dimension}, the embedder "
                f"{embedder.embedder_id} makes {embedder.dimension}: mine with the "
                "embedder that made them"
            )
        if info.embedder not in (None, embedder.embedder_id):
            raise ConfigError(
                f"{uri} holds embeddings made by {info.embedder}, not by "
                f"{embedder.embedder_id}: mine with the embedder that made them"
            )
    return embedder


def pin_models(config: MineConfig) -> MineConfig:
    """Return the settings with the embedder's revision as it is now.

    All workers, and whoever resumes the run, then use the same model.

    Raises:
        InputError: the model is not available.
    """
    return dataclasses.replace(config, embedder=pin_embedder(config.embedder))


def threshold_of(config: MineConfig, embedder: Embedder) -> float:
    """Return τ as given, or as measured for the embedder.

    Raises:
        ConfigError: neither is there.
    """
    given = config.threshold
    threshold = embedder.default_threshold if given is None else given
    if threshold is None:
        raise ConfigError(
            f"calibrate τ for this embedder: none was measured for "
            f"{embedder.embedder_id}. Mine a sample with a low --threshold, look at "
            "the pairs by similarity, and give the --threshold that separates matches "
            "from the rest"
        )
    return threshold


def check_seeds(seeds: str) -> list[str]:
    """Return the seed files.

    Raises:
        ConfigError: there are none.
    """
    try:
        return list_seed_files(seeds)
    except InputError as error:
        raise ConfigError(f"--seeds {seeds}: {error.message}") from error


def check_videos(videos: str) -> None:
    """Raise ConfigError if nothing exists where the videos should be."""
    if is_web(videos) and not table_format(videos):
        return  # One video by its URL; only the download shows whether it exists.
    try:
        if not storage.exists(videos) and not list_files(videos):
            raise ConfigError(f"--videos {videos}: there is nothing there")
    except InputError as error:
        raise ConfigError(f"--videos {videos}: {error.message}") from error


def check_reused_embeddings(config: MineConfig, embedder: Embedder) -> None:
    """Check that the run named by `--reuse_embeddings_from` fits this one.

    Raises:
        ConfigError: it has no embeddings, or was mined with other settings.
    """
    reused = config.reuse_embeddings_from
    if reused is None:
        return
    if not kept_in(storage.join(reused, FOLDER)):
        raise ConfigError(
            f"--reuse_embeddings_from {reused}: no embeddings are kept there; name a "
            "run directory that was mined without --no_keep_embeddings"
        )
    try:
        mining = Run.open(reused, verify="nothing").mining
    except InputError:
        return  # Interrupted: whatever it embedded is reused.
    wanted = {"embedder": embedder.embedder_id, "sample_fps": config.sample_fps}
    wanted |= {"sampling": config.sampling, "part_s": config.part_s}
    there = {**mining.config, "embedder": mining.embedder}
    for name, value in wanted.items():
        if there[name] != value:
            raise ConfigError(
                f"--reuse_embeddings_from {reused} was mined with "
                f"--{name}={there[name]}, not {value}: give the same "
                "here, or do not reuse its embeddings"
            )


def same_day(config: MineConfig, flags: Sequence[str]) -> MineConfig:
    """Return the settings with `as_of` as the first attempt chose it.

    A run that is interrupted and resumes after midnight is still one run.
    """
    if any(flag.split("=")[0] == "--as_of" for flag in flags):
        return config
    if is_run(config.output):
        return config
    try:
        day = storage.read_bytes(storage.join(config.output, AS_OF), 10).decode()
    except InputError:
        return config
    return dataclasses.replace(config, as_of=datetime.date.fromisoformat(day))


class OutputSettings(Protocol):
    """What `prepare_output` has to know of a job."""

    @property
    def output(self) -> str:
        """The run directory."""

    @property
    def overwrite(self) -> bool:
        """Whether a run that is there is replaced."""

    @property
    def as_of(self) -> datetime.date:
        """The day that ages count from."""

    @property
    def keep_embeddings(self) -> bool:
        """Whether frame embeddings stay."""


def prepare_output(config: OutputSettings) -> str:
    """Make room for a run, and refuse to harm what is there.

    The frame embedding cache of an earlier attempt, or of the run to be replaced,
    stays: its file names say what each embedding is of.

    Returns:
        What is reused of earlier attempts, in words; "" for nothing.

    Raises:
        ConfigError: another run is there (and not to be overwritten), or other files.
    """
    output = config.output

    def place(entry: str) -> str:
        return storage.join(output, entry)

    # Not by listing: a big run may have a billion cached embedding files.
    present = [entry for entry in RUN_ENTRIES if storage.exists(place(entry))]
    if files.RUN_JSON in present and not config.overwrite:
        raise ConfigError(
            f"--output {output} holds another run: choose another directory, or "
            "replace it with --overwrite"
        )
    if not present and _holds_files(output):
        raise ConfigError(f"--output {output} holds other files: choose an empty one")
    for entry in present:  # run.json first: from here on there is no result.
        logging.info("replacing %s", place(entry))
        if entry == "work" and config.keep_embeddings:
            entry = SEEDS_FOLDER
        storage.remove_tree(place(entry))
    storage.write_bytes(place(AS_OF), config.as_of.isoformat().encode())
    tidy(place(FOLDER))
    return kept_in(place(FOLDER))


def _holds_files(output: str) -> bool:
    try:
        return bool(list_files(output))
    except InputError:
        return False
