"""What `run.json` says of a run that nobody mined."""

from clipseed.run.accounting import Counts
from clipseed.run.manifest import IndexFacts, MiningFacts

MINING = MiningFacts(
    config={"index": None}, config_hash="h", embedder="e", threshold=0.6,
    min_similarity=0.4, versions={}, started=0.0, seconds=0.0, counts=Counts({}),
    seeds_fingerprint=0, index=IndexFacts("exact", 2),
)  # fmt: skip
