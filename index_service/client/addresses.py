"""How a served index is named: shards, each with its replicas.

grpc://a:50051|b:50051,grpc://c:50051   two shards, the first on two replicas
"""

from urllib.parse import urlsplit

from clipseed.errors import InputError

SCHEME = "grpc://"

Shards = tuple[tuple[str, ...], ...]


def is_served(index: str) -> bool:
    """Return whether an index is named by addresses, not by a directory."""
    return index.startswith(SCHEME)


def parse_shards(text: str) -> Shards:
    """Read addresses: commas between shards, `|` between the replicas of a shard.

    Returns:
        `host:port` of each replica of each shard.

    Raises:
        InputError: `bad_address`.
    """
    shards = tuple(
        tuple(_address(replica) for replica in shard.split("|"))
        for shard in text.split(",")
    )
    every = [address for shard in shards for address in shard]
    twice = {address for address in every if every.count(address) > 1}
    if twice:
        raise InputError("bad_address", f"{sorted(twice)[0]} stands in {text!r} twice")
    return shards


def _address(text: str) -> str:
    bare = text.strip().removeprefix(SCHEME)
    try:
        parts = urlsplit(f"//{bare}")
        good = bool(parts.hostname and parts.port) and parts.netloc == bare
    except ValueError:
        good = False
    if not good:
        raise InputError(
            "bad_address", f"{text!r} is no address: write {SCHEME}HOST:PORT for each"
        )
    return bare
