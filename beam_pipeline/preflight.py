"""What is checked before any work starts, so that a wrong flag costs seconds."""

import logging

from beam_pipeline.options import MineConfig
from models.embedders import Embedder, load_embedder
from transforms import storage
from transforms.elements import Reject
from transforms.fetch import is_web
from transforms.listing import list_files
from transforms.read_seeds import list_seed_files, seed_embedding_info
from transforms.tables import table_format

# Everything that a run writes, and `clipseed inspect` after it; nothing else in an
# output directory is ever touched.
RUN_ENTRIES = (
    "run.json",
    "pairs.csv",
    "pairs",
    "matches",
    "clips",
    "rejected",
    "index",
    "work",
    "contact_sheet.png",
)


class UsageError(Exception):
    """A job that cannot start, and what to do about it."""


def check_embedder(config: MineConfig, seed_files: list[str]) -> Embedder:
    """Loads the embedder and holds it against the embeddings that seeds bring along.

    Raises:
        UsageError: it cannot be loaded, or is not what made them.
    """
    try:
        embedder = load_embedder(config.embedder)
    except ValueError as error:
        raise UsageError(f"--embedder: {error}") from error
    for uri in seed_files:
        info = seed_embedding_info(uri)
        if info is None:
            continue
        if info.dimension != embedder.dimension:
            raise UsageError(
                f"{uri} holds embeddings of dimension {info.dimension}, the embedder "
                f"{embedder.embedder_id} makes {embedder.dimension}: mine with the "
                "embedder that made them"
            )
        if info.embedder not in (None, embedder.embedder_id):
            raise UsageError(
                f"{uri} holds embeddings made by {info.embedder}, not by "
                f"{embedder.embedder_id}: mine with the embedder that made them"
            )
    return embedder


def check_seeds(seeds: str) -> list[str]:
    """The seeds files.

    Raises:
        UsageError: there are none.
    """
    try:
        return list_seed_files(seeds)
    except Reject as reject:
        raise UsageError(f"--seeds {seeds}: {reject.message}") from reject


def check_videos(videos: str) -> None:
    """Raises UsageError when there is nothing at the place of the videos."""
    if is_web(videos) and not table_format(videos):
        return  # One video by its URL; the download tells whether it is there.
    try:
        if not storage.exists(videos) and not list_files(videos):
            raise UsageError(f"--videos {videos}: there is nothing there")
    except Reject as reject:
        raise UsageError(f"--videos {videos}: {reject.message}") from reject


def prepare_output(output: str, overwrite: bool) -> None:
    """Makes room for a run, and refuses to harm what is there.

    Raises:
        UsageError: another run is there (and not to be overwritten), or other files.
    """
    present = {
        path[len(output.rstrip("/")) + 1 :].split("/")[0] for path in _files(output)
    }
    if "run.json" in present and not overwrite:
        raise UsageError(
            f"--output {output} holds another run: choose another directory, or "
            "replace it with --overwrite"
        )
    if present and not present & set(RUN_ENTRIES):
        raise UsageError(f"--output {output} holds other files: choose an empty one")
    if present:
        logging.info("replacing the run in %s", output)
    for entry in RUN_ENTRIES:  # run.json first: from here on there is no result.
        storage.remove_tree(storage.join(output, entry))


def _files(output: str) -> list[str]:
    try:
        return list_files(output)
    except Reject:
        return []
