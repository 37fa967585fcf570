"""The index service through the real wire."""

import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from clipseed.errors import InputError
from index_service.search.searcher import load_index
from index_service.serve.limits import Limits
from index_service.serve.server import IndexServer
from index_service.wire import search_pb2 as wire
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

VECTORS = unit_rows(300)
QUERIES = unit_rows(8, seed=1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_index(tmp_path_factory.mktemp("index") / "one", VECTORS)


@pytest.fixture(scope="module")
def server(index: Path) -> Iterator[IndexServer]:
    limits = Limits(max_queries=64, max_k=400, max_message_bytes=1 << 16)
    with serving(index, limits=limits, metrics_port=0) as running:
        yield running


@pytest.fixture
def client(server: IndexServer) -> Iterator[Any]:
    with stub(server.port) as made:
        yield made


def answers(response: Any) -> list[list[tuple[str, float]]]:
    pairs = iter(zip(response.ids, response.similarities, strict=True))
    return [[next(pairs) for _ in range(count)] for count in response.counts]


def by_hand(queries: np.ndarray, k: int, threshold: float) -> list[list[str]]:
    found = []
    for row in queries.astype(np.float64) @ VECTORS.T.astype(np.float64):
        best = np.argsort(-row)[:k]
        found.append([f"seed-{i:05d}" for i in best if row[i] > threshold])
    return found


def test_it_finds_what_an_exact_search_finds(client: Any) -> None:
    response = client.Search(request(QUERIES, 5, threshold=0.5))
    got = answers(response)
    assert [[i for i, _ in row] for row in got] == by_hand(QUERIES, 5, 0.5)
    exact = QUERIES @ VECTORS.T
    assert list(response.cut) == ((exact > 0.5).sum(axis=1) > 5).tolist()
    assert any(response.cut) and not all(response.cut)
    for row, scores in zip(got, exact, strict=True):
        for seed_id, similarity in row:
            assert similarity == pytest.approx(scores[int(seed_id[-5:])], abs=1e-6)


def test_without_a_threshold_k_are_found(client: Any) -> None:
    response = client.Search(request(QUERIES, 300))
    assert list(response.counts) == [300] * 8 and not any(response.cut)
    assert [[i for i, _ in row] for row in answers(response)] == by_hand(
        QUERIES, 300, -2
    )


def test_batched_requests_get_what_they_get_alone(client: Any, index: Path) -> None:
    queries = unit_rows(200, seed=2)
    alone = load_index(index)
    wanted = [alone.search(queries[i : i + 1], 3, 0.3) for i in range(200)]

    def ask(i: int) -> Any:
        return client.Search(request(queries[i : i + 1], 3, threshold=0.3))

    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(ask, range(200)))
    for response, matches in zip(got, wanted, strict=True):
        assert list(response.ids) == matches.ids
        assert np.array_equal(np.float32(response.similarities), matches.similarities)


BAD = {
    "not_finite": request(np.where(np.arange(DIMENSION) == 3, np.nan, QUERIES)),
    "zero_norm": request(QUERIES * 0),
    "not_unit_norm": request(QUERIES * 2),
    "wrong_dimension": request(QUERIES, dimension=DIMENSION + 1),
    "wrong_length": request(QUERIES, queries=QUERIES.tobytes()[:-3]),
    "empty_batch": request(QUERIES[:0]),
    "bad_k": request(QUERIES, 0),
    "unknown_embedder": request(QUERIES, embedder_id="other@2"),
    "too_many_queries": request(unit_rows(65)),
    "bad_threshold": request(QUERIES, threshold=float("nan")),
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_requests_are_refused_with_the_reason(client: Any, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.Search(BAD[reason])
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith(f"{reason}: ")


@pytest.mark.parametrize(
    "bad",
    [
        request(QUERIES, 401),
        request(QUERIES, embedder_id=""),
        request(np.where(np.arange(DIMENSION) == 3, np.inf, QUERIES)),
        request(QUERIES.astype(np.float64), queries=QUERIES.astype("<f8").tobytes()),
    ],
    ids=["huge k", "no embedder", "infinite", "float64"],
)
def test_so_are_these(client: Any, bad: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.Search(bad)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_message_that_is_too_large_is_refused(client: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.Search(request(unit_rows(2000)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_stats_say_what_is_served(client: Any, index: Path) -> None:
    before = client.Stats(wire.StatsRequest())
    client.Search(request(QUERIES))
    stats = client.Stats(wire.StatsRequest())
    assert stats.queries == before.queries + 8 and stats.memory_bytes > 1 << 20
    assert (stats.embedder_id, stats.dimension) == (EMBEDDER, DIMENSION)
    assert (stats.count, stats.kind, stats.recall) == (300, "exact", 1.0)
    assert (stats.shard, stats.shards) == (0, 1)
    assert stats.version == load_index(index).version


def test_health_and_reflection_answer_standard_clients(server: IndexServer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "clipseed.index.v1.IndexService"):
            status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
            assert status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        (listed,) = reflection.ServerReflectionInfo(iter([ask]))
        names = {entry.name for entry in listed.list_services_response.service}
        assert "clipseed.index.v1.IndexService" in names
        ask = reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="clipseed.index.v1.IndexService"
        )
        (described,) = reflection.ServerReflectionInfo(iter([ask]))
        files = described.file_descriptor_response.file_descriptor_proto
        assert any(b"SearchRequest" in file for file in files)


def test_metrics_can_be_read(client: Any, server: IndexServer) -> None:
    client.Search(request(QUERIES))
    with pytest.raises(grpc.RpcError):
        client.Search(request(QUERIES, 0))
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as page:
        text = page.read().decode()
    values = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")
    )
    assert float(values["clipseed_index_queries_total"]) >= 8
    assert float(values['clipseed_index_refused_total{reason="bad_k"}']) >= 1
    assert float(values["clipseed_index_request_seconds_count"]) >= 1
    assert float(values["clipseed_index_memory_bytes"]) > 1 << 20
    assert f'embedder_id="{EMBEDDER}"' in text


def test_the_recall_is_sampled(index: Path) -> None:
    with serving(index, limits=Limits(audit_one_in=1), metrics_port=0) as running:
        with stub(running.port) as client:
            client.Search(request(QUERIES, 100, threshold=0.3))
        running.service.close()  # The sample is taken after the answer.
        url = f"http://127.0.0.1:{running.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as page:
            text = page.read().decode()
    pairs = float(int((QUERIES @ VECTORS.T > 0.3).sum()))
    assert f"recall_sampled_pairs_total {pairs}" in text
    assert f"recall_found_pairs_total {pairs}" in text


def test_too_many_requests_are_refused_at_once(index: Path) -> None:
    limits = Limits(max_requests=1, audit_one_in=0)
    with serving(index, limits=limits) as running, stub(running.port) as client:
        with held_search(running) as held:
            first = client.Search.future(request(QUERIES))
            assert held.entered.wait(5)
            with pytest.raises(grpc.RpcError) as caught:
                client.Search(request(QUERIES), timeout=5)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert dict(caught.value.trailing_metadata())["retry-after-ms"] == "50"
            held.go.set()
        assert len(first.result().counts) == 8
        assert len(client.Search(request(QUERIES)).counts) == 8  # It has recovered.


def test_a_request_that_waits_past_its_deadline_is_not_searched(index: Path) -> None:
    with serving(index) as running, stub(running.port) as client:
        with held_search(running) as held:
            first = client.Search.future(request(QUERIES))
            assert held.entered.wait(5)
            with pytest.raises(grpc.RpcError) as caught:
                client.Search(request(QUERIES), timeout=0.2)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            held.go.set()
            first.result()
            client.Search(request(QUERIES[:1]))
        assert held.sizes == [8, 1]


def test_a_damaged_index_is_not_served(tmp_path: Path) -> None:
    directory = make_index(tmp_path / "one", VECTORS)
    data = bytearray((directory / "vectors.npy").read_bytes())
    data[-1] ^= 1
    (directory / "vectors.npy").write_bytes(data)
    with pytest.raises(InputError, match=r"vectors\.npy"), serving(directory):
        pass
    (directory / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"manifest\.json"), serving(directory):
        pass


def test_the_process_serves_and_ends_cleanly(index: Path) -> None:
    with server_process(index) as running:
        with grpc.insecure_channel(running.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            reply = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        running.process.terminate()
        assert running.process.wait(10) == 0
