"""A client of shards and replicas, over the real wire."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from clipseed.errors import InputError
from index_service.build.build_index import IndexConfig, build_shards
from index_service.client.credentials import ServerSecurity
from index_service.client.index_client import ClientConfig, ClientSecurity, IndexClient
from index_service.client.shard_client import ShardDown
from index_service.search.open_index import Index, open_index
from index_service.serve.limits import Limits
from tests.support.servers.certificates import Authority
from tests.support.servers.index_server import (
    DIMENSION,
    EMBEDDER,
    held_search,
    make_index,
    request,
    server_process,
    serving,
    stub,
    unit_rows,
)

VECTORS = unit_rows(600)
QUERIES = unit_rows(20, seed=1)
IDS = [f"seed-{i}" for i in range(len(VECTORS))]
PATIENCE_S = 0.5


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shards") / "index"
    build_shards(root, IDS, VECTORS, EMBEDDER, 0.5, None, IndexConfig(), 3)
    return root


@pytest.fixture(scope="module")
def whole(shards: Path) -> Index:
    return open_index(str(shards))


@contextmanager
def all_served(root: Path, **settings: Limits) -> Iterator[tuple[tuple[str], ...]]:
    """Serve each shard in this process."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(directory, **settings))
            for directory in sorted(root.glob("shard-*"))
        ]
        yield tuple((f"127.0.0.1:{server.port}",) for server in servers)


@pytest.fixture(scope="module")
def served(shards: Path) -> Iterator[tuple[tuple[str], ...]]:
    with all_served(shards) as addresses:
        yield addresses


def config(addresses: tuple[tuple[str, ...], ...], **changes: object) -> ClientConfig:
    return ClientConfig(addresses, EMBEDDER, DIMENSION, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("k", "threshold"), [(5, 0.3), (600, -0.2), (7, None)])
def test_shards_answer_as_one_index(
    served: tuple[tuple[str], ...], whole: Index, k: int, threshold: float | None
) -> None:
    wanted = whole.search(QUERIES, k, threshold)
    with IndexClient(config(served, batch=6)) as client:
        found = client.search(QUERIES, k, threshold)
    assert found.matches.ids == wanted.ids and found.missing == ()
    for name in ("counts", "similarities", "cut"):
        assert np.array_equal(getattr(found.matches, name), getattr(wanted, name))
    assert len(set(found.versions)) == 3


def test_all_above_a_threshold_are_found_however_many(
    served: tuple[tuple[str], ...], whole: Index
) -> None:
    wanted = whole.search(QUERIES, 600, -1.0)
    assert wanted.counts.max() > 256  # More than is asked for at first.
    with IndexClient(config(served)) as client:
        matches = client.matches_above(QUERIES, -1.0)
    assert matches.ids == wanted.ids and not matches.cut.any()
    assert np.array_equal(matches.similarities, wanted.similarities)


def test_what_is_too_much_for_one_request_is_asked_for_in_several(
    shards: Path, whole: Index
) -> None:
    wanted = whole.search(QUERIES, 600, -1.0)
    limits = Limits(max_matches=2048, max_queries=3)
    with (
        all_served(shards, limits=limits) as addresses,
        IndexClient(config(addresses)) as client,
    ):
        matches = client.matches_above(QUERIES, -1.0)
        with pytest.raises(InputError) as caught:
            client.search(QUERIES[:1], 2049, -1.0)
    assert matches.ids == wanted.ids and not matches.cut.any()
    assert caught.value.reason == "too_many_matches"


def test_more_than_servers_give_is_an_error(shards: Path) -> None:
    with (
        all_served(shards, limits=Limits(max_k=256)) as addresses,
        IndexClient(config(addresses)) as client,
        pytest.raises(InputError, match="at most 256"),
    ):
        client.search(QUERIES, 257, -1.0)


def test_the_servers_are_held_against_the_client(
    served: tuple[tuple[str], ...], tmp_path: Path
) -> None:
    with IndexClient(config(served)) as client:
        assert sum(stats.count for stats in client.check()) == 600
    with (
        IndexClient(ClientConfig(served, "other@2", DIMENSION)) as client,
        pytest.raises(InputError, match="embedder_mismatch"),
    ):
        client.check()
    with (
        IndexClient(config(served[:2])) as client,
        pytest.raises(InputError, match="wrong_shards"),
    ):
        client.check()
    other = tmp_path / "other"
    build_shards(other, IDS[:90], VECTORS[:90], EMBEDDER, 0.5, None, IndexConfig(), 3)
    with (
        all_served(other) as strangers,
        IndexClient(config((*served[:2], strangers[2]))) as client,
        pytest.raises(InputError, match="wrong_shards"),
    ):
        client.check()


def test_a_refusal_is_told_and_not_tried_again(served: tuple[tuple[str], ...]) -> None:
    with IndexClient(config(served)) as client:
        with pytest.raises(InputError, match="not_unit_norm") as caught:
            client.search(QUERIES * 2, 3, None)
        assert served[0][0] in caught.value.message
        assert sum(shard.retries for shard in client.shards) == 0


def test_a_dead_replica_is_passed_over(shards: Path, whole: Index) -> None:
    directories = sorted(shards.glob("shard-*"))
    with all_served(shards) as addresses, server_process(directories[0]) as doomed:
        both = ((doomed.address, *addresses[0]), *addresses[1:])
        with IndexClient(config(both)) as client:
            client.shards[0]._current = 0
            client.search(QUERIES, 3, None)
            assert client.shards[0].failovers == 0
            doomed.process.kill()
            doomed.process.wait()
            found = client.search(QUERIES, 3, None)
            assert found.matches.ids == whole.search(QUERIES, 3, None).ids
            assert client.shards[0].failovers == 1


def test_a_shard_that_is_down_is_named(
    served: tuple[tuple[str], ...], whole: Index
) -> None:
    nobody = (served[0], ("127.0.0.1:1",), served[2])
    with (
        IndexClient(config(nobody, patience_s=PATIENCE_S)) as client,
        pytest.raises(ShardDown, match=r"shard 1 .*127\.0\.0\.1:1"),
    ):
        client.search(QUERIES, 3, None)
    with IndexClient(
        config(nobody, allow_partial=True, patience_s=PATIENCE_S)
    ) as client:
        found = client.search(QUERIES, 600, None)
    assert found.missing == (1,) and found.versions[1] == ""
    assert 0 < len(set(found.matches.ids)) < len(IDS)
    assert set(found.matches.ids) < set(whole.search(QUERIES, 600, None).ids)


def test_an_overloaded_server_is_asked_more_slowly(shards: Path) -> None:
    (first, *_) = sorted(shards.glob("shard-*"))
    with (
        serving(first, limits=Limits(max_requests=1)) as server,
        held_search(server) as held,
        stub(server.port) as somebody,
    ):
        theirs = somebody.Search.future(request(QUERIES))
        assert held.entered.wait(5)  # Somebody else has the only place.
        waited: list[float] = []

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 6:
                held.go.set()

        client = IndexClient(config(((f"127.0.0.1:{server.port}",),)), sleep=sleep)
        with client:
            found = client.search(QUERIES, 3, None)
            (shard,) = client.shards
            assert len(found.matches.counts) == 20 and shard.retries >= 3
            assert shard.pace.slept_s > 0 and shard.pace.pause_s > 0
            for _ in range(20):
                client.search(QUERIES, 3, None)
            assert shard.pace.pause_s == 0
        assert len(theirs.result().counts) == 20


def test_tls_and_a_token(tmp_path: Path) -> None:
    index = make_index(tmp_path / "one", VECTORS[:50])
    authority = Authority(tmp_path / "certificates")
    server, mine = authority.sign("server"), authority.sign("client")
    (tmp_path / "token").write_text("open-sesame")
    locked = ServerSecurity(
        str(server.cert), str(server.key), str(authority.cert), str(tmp_path / "token")
    )
    own = ClientSecurity(
        str(authority.cert), str(mine.cert), str(mine.key), str(tmp_path / "token")
    )
    with serving(index, security=locked) as running:
        addresses = ((f"127.0.0.1:{running.port}",),)
        with IndexClient(config(addresses, security=own)) as client:
            assert len(client.search(QUERIES, 2, None).matches.counts) == 20
        no_token = ClientSecurity(own.ca, own.cert, own.key)
        with (
            IndexClient(config(addresses, security=no_token)) as client,
            pytest.raises(InputError, match="bad_token"),
        ):
            client.search(QUERIES, 2, None)


@pytest.mark.parametrize(
    ("address", "security"),
    [
        ("10.0.0.1:1", ClientSecurity(token_file="token")),
        ("127.0.0.1:1", ClientSecurity(cert="a")),
        ("127.0.0.1:1", ClientSecurity(cert="a", key="b")),
    ],
)
def test_half_a_lock_is_refused(address: str, security: ClientSecurity) -> None:
    with pytest.raises(InputError, match="bad_security"):
        IndexClient(config(((address,),), security=security))
