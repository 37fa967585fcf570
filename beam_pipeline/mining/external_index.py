"""The external index of a run: `--index`."""

import logging
from dataclasses import dataclass

from beam_pipeline.mining.config import MineConfig
from index_service.client.addresses import is_served, parse_shards
from index_service.client.index_client import ClientConfig, ClientSecurity, IndexClient
from index_service.search.open_index import open_index
from index_service.store import index_directory
from index_service.store.index_directory import IndexManifest
from index_service.store.tuning import Audit
from models.embedders.base import Embedder

_CHECK_PATIENCE_S = 10.0


@dataclass(frozen=True)
class ExternalIndex:
    """An index that the job does not build.

    Attributes:
        manifest: its description.
        directory: its directory, local or `gs://`; "" for a served index.
        client: how to query a served index; None for a directory.
    """

    manifest: IndexManifest
    directory: str = ""
    client: ClientConfig | None = None


def find_index(config: MineConfig, embedder: Embedder) -> ExternalIndex | None:
    """Open the index of `--index`, or ask its servers; None without the flag.

    Raises:
        InputError: the index is damaged or of another embedder, or an address is
            invalid.
        ShardDown: a server does not answer.
    """
    if config.index is None:
        return None
    wanted = (embedder.embedder_id, embedder.dimension)
    if not is_served(config.index):
        return ExternalIndex(open_index(config.index, *wanted).manifest, config.index)
    security = ClientSecurity(
        config.index_ca, config.index_cert, config.index_key, config.index_token_file
    )
    client = ClientConfig(parse_shards(config.index), *wanted, security=security)
    return ExternalIndex(_ask(client), client=client)


def _ask(config: ClientConfig) -> IndexManifest:
    """Combine the servers' descriptions of the index into one manifest."""
    impatient = ClientConfig(
        config.shards,
        config.embedder_id,
        config.dimension,
        patience_s=_CHECK_PATIENCE_S,
        security=config.security,
    )
    with IndexClient(impatient) as client:
        stats = client.check()
    worst = min(stats, key=lambda shard: shard.recall)
    return IndexManifest(
        index_directory.FORMAT_VERSION,
        "exact" if all(shard.kind == "exact" for shard in stats) else "scann",
        config.embedder_id,
        config.dimension,
        sum(shard.count for shard in stats),
        worst.threshold,
        None,
        Audit(worst.recall, "served"),
        (),
        shards=len(stats),
    )


def warn_about_recall(index: ExternalIndex, min_similarity: float) -> None:
    """Warn if the index was tuned for a higher similarity than the run's."""
    manifest = index.manifest
    if manifest.kind == "scann" and min_similarity < manifest.threshold:
        logging.warning(
            "the index was tuned for similarities above %g; above %g it may find fewer "
            "than %.2f %% of the pairs",
            manifest.threshold,
            min_similarity,
            100 * manifest.audit.recall,
        )
