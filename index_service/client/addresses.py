"""Addresses of a served index: its shards, and the replicas of each.

grpc://a:50051|b:50051,grpc://c:50051   two shards, the first with two replicas
"""

from urllib.parse import urlsplit

from clipseed.errors import InputError

SCHEME = "grpc://"

Shards = tuple[tuple[str, ...], ...]


def is_served(index: str) -> bool:
    """Return whether an index is given by addresses rather than by a directory."""
    return index.startswith(SCHEME)


def parse_shards(text: str) -> Shards:
    """Parse addresses: commas between shards, `|` between the replicas of a shard.

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
        raise InputError(
            "bad_address", f"{sorted(twice)[0]} is twice in {text!r}; name it once"
        )
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
            "bad_address", f"{text!r} is not an address; write {SCHEME}HOST:PORT"
        )
    return bare
