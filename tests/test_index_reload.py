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
from index_server import (
    DIMENSION,
    make_index,
    request,
    server_process,
    serving,
    stub,
    unit_rows,
)

from index_service.search import load_index
from index_service.wire import search_pb2 as wire

QUERIES = unit_rows(4, seed=9)
VERSIONS, CLIENTS, LEAST_QUERIES = 6, 4, 1_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories `v0` ... of different seeds, whose ids say the version."""
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


def test_no_query_fails_and_no_answer_is_mixed(root: Path) -> None:
    wanted = {}
    for i in range(VERSIONS):
        index = load_index(root / f"v{i}")
        wanted[index.version] = index.search(QUERIES, 5, None).ids
    seen: Counter[str] = Counter()
    wrong: list[Any] = []
    done = threading.Event()

    def ask(port: int) -> None:
        with stub(port) as client:
            while not done.is_set():
                try:
                    answer = client.Search(request(QUERIES, 5), timeout=10)
                except grpc.RpcError as error:
                    wrong.append(error)
                    return
                if list(answer.ids) != wanted[answer.version]:
                    wrong.append(answer)
                seen[answer.version] += len(answer.counts)

    def wait_for(queries: float) -> None:
        while sum(seen.values()) < queries and not wrong:
            time.sleep(0.005)

    with serving(root / "v0") as server, stub(server.port) as client:
        threads = [
            threading.Thread(target=ask, args=(server.port,)) for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for i in range(1, VERSIONS):
            wait_for(LEAST_QUERIES * i / VERSIONS)
            before = client.Stats(wire.StatsRequest()).version
            swapped = reload(client, f"v{i}")
            assert swapped.previous_version == before != swapped.version
        wait_for(LEAST_QUERIES)
        done.set()
        for thread in threads:
            thread.join()
        assert client.Stats(wire.StatsRequest()).reloads == VERSIONS - 1
    assert not wrong
    assert sum(seen.values()) >= LEAST_QUERIES and set(seen) == set(wanted)


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
        assert "does not lie beside" in refused(failed, client, "../elsewhere")
        assert "does not lie beside" in refused(
            failed, client, str(tmp_path / "elsewhere")
        )
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
