"""Swapping the version of a served index while queries run."""

import gc
import shutil
import signal
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from index_service.search.searcher import load_index
from index_service.wire import search_pb2 as wire
from tests.support.servers.index_server import (
    DIMENSION,
    make_index,
    request,
    server_process,
    serving,
    stub,
    unit_rows,
)

QUERIES = unit_rows(4, seed=9)
VERSIONS, CLIENTS, LEAST_QUERIES = 6, 4, 1_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build directories `v0` ... of different seeds, whose ids show the version."""
    root = tmp_path_factory.mktemp("versions")
    for i in range(VERSIONS):
        make_index(root / f"v{i}", unit_rows(400, seed=i), name=f"v{i}")
    return root


def reload(client: Any, directory: str, **fields: Any) -> Any:
    return client.Reload(wire.ReloadRequest(directory=directory, **fields))


def refused(code: grpc.StatusCode, client: Any, directory: str, **fields: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        reload(client, directory, **fields)
    assert caught.value.code() is code
    return caught.value.details()


class Crowd:
    """Clients that ask until they are told to stop, and check every answer."""

    def __init__(self, port: int, wanted: dict[str, list[str]]) -> None:
        self.seen: Counter[str] = Counter()
        self.wrong: list[Any] = []
        self._port, self._wanted = port, wanted
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, queries: float) -> None:
        while sum(self.seen.values()) < queries and not self.wrong:
            time.sleep(0.005)

    def _ask(self) -> None:
        with stub(self._port) as client:
            while not self._done.is_set() and not self.wrong:
                try:
                    answer = client.Search(request(QUERIES, 5), timeout=10)
                except grpc.RpcError as error:
                    self.wrong.append(error)
                    return
                if list(answer.ids) != self._wanted[answer.version]:
                    self.wrong.append(answer)
                self.seen[answer.version] += len(answer.counts)


def test_no_query_fails_and_no_answer_is_mixed(root: Path) -> None:
    indexes = [load_index(root / f"v{i}") for i in range(VERSIONS)]
    wanted = {i.version: i.search(QUERIES, 5, None).ids for i in indexes}
    with serving(root / "v0") as server, stub(server.port) as client:
        with Crowd(server.port, wanted) as crowd:
            for i in range(1, VERSIONS):
                crowd.wait_for(LEAST_QUERIES * i / VERSIONS)
                swapped = reload(client, f"v{i}")
                before, after = indexes[i - 1].version, indexes[i].version
                assert (swapped.previous_version, swapped.version) == (before, after)
            crowd.wait_for(LEAST_QUERIES)
        assert client.Stats(wire.StatsRequest()).reloads == VERSIONS - 1
    assert not crowd.wrong
    assert sum(crowd.seen.values()) >= LEAST_QUERIES and set(crowd.seen) == set(wanted)


def test_the_old_version_is_given_back(root: Path) -> None:
    with serving(root / "v0") as server, stub(server.port) as client:
        client.Search(request(QUERIES))
        old = weakref.ref(server.service._versions.current)
        reload(client, "v1")
        client.Search(request(QUERIES))
        gc.collect()
        assert old() is None


def test_another_embedder_is_refused_unless_asked_for(
    root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "v0", tmp_path / "v0")
    make_index(tmp_path / "other", unit_rows(50), embedder="other@2")
    make_index(tmp_path / "wide", unit_rows(50, dimension=DIMENSION * 2))
    with serving(tmp_path / "v0") as server, stub(server.port) as client:
        failed = grpc.StatusCode.FAILED_PRECONDITION
        for name in ("other", "wide"):
            assert "embedder_mismatch" in refused(failed, client, name)
        served = client.Stats(wire.StatsRequest())
        assert (served.embedder_id, served.reloads) == ("made@1", 0)
        assert len(client.Search(request(QUERIES)).counts) == 4

        reload(client, "other", allow_other_embedder=True)
        with pytest.raises(grpc.RpcError, match="unknown_embedder"):
            client.Search(request(QUERIES))
        answer = client.Search(request(QUERIES, embedder_id="other@2"))
        assert len(answer.counts) == 4


def test_damage_and_strange_places_leave_the_old_one(
    root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "v0", tmp_path / "a" / "v0")
    shutil.copytree(root / "v1", tmp_path / "a" / "torn")
    (tmp_path / "a" / "torn" / "ids.txt").write_text("seed-1\n")
    shutil.copytree(root / "v1", tmp_path / "elsewhere")
    with serving(tmp_path / "a" / "v0") as server, stub(server.port) as client:
        failed = grpc.StatusCode.FAILED_PRECONDITION
        assert "ids.txt" in refused(failed, client, "torn")
        assert "manifest.json" in refused(failed, client, "missing")
        for elsewhere in ("../elsewhere", str(tmp_path / "elsewhere")):
            assert "forbidden_directory" in refused(failed, client, elsewhere)
        answer = client.Search(request(QUERIES))
        assert answer.version == load_index(root / "v0").version


def test_a_signal_follows_a_link_that_was_moved(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(root / "v0")
    with server_process(link) as running:
        port = int(running.address.split(":")[-1])
        with stub(port) as client:
            before = client.Stats(wire.StatsRequest(), timeout=5).version
            link.unlink()
            link.symlink_to(root / "v1")
            running.process.send_signal(signal.SIGHUP)
            until = time.monotonic() + 10
            while time.monotonic() < until:
                if client.Stats(wire.StatsRequest()).version != before:
                    break
                time.sleep(0.02)
            after = client.Stats(wire.StatsRequest()).version
    assert after == load_index(root / "v1").version
