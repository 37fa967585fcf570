"""Who may talk to an index server."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from beam_pipeline.commands.index_serve import run
from clipseed.errors import InputError
from index_service.client.credentials import ServerSecurity, is_loopback
from index_service.wire.convert import merge_parts
from index_service.wire.search_pb2_grpc import IndexServiceStub
from tests.support.servers.certificates import Authority
from tests.support.servers.index_server import (
    make_index,
    request,
    serving,
    stub,
    unit_rows,
)

QUERIES = unit_rows(2, seed=1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_index(tmp_path_factory.mktemp("index") / "one", unit_rows(50))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def search(port: int, credentials: grpc.ChannelCredentials, **call: Any) -> Any:
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        call = IndexServiceStub(channel).Search(request(QUERIES), timeout=5, **call)
        return merge_parts(call)


def test_tls_is_spoken_and_nothing_else(index: Path, authority: Authority) -> None:
    key, cert = authority.sign("server")
    trusting = grpc.ssl_channel_credentials(authority.cert.read_bytes())
    with serving(index, security=ServerSecurity(str(cert), str(key))) as server:
        assert len(search(server.port, trusting).counts) == 2
        with stub(server.port) as client, pytest.raises(grpc.RpcError):
            client.Search(request(QUERIES), timeout=2)
        stranger = Authority(authority.cert.parent / "other")
        with pytest.raises(grpc.RpcError):
            search(
                server.port, grpc.ssl_channel_credentials(stranger.cert.read_bytes())
            )


def test_mutual_tls_wants_a_certificate(index: Path, authority: Authority) -> None:
    key, cert = authority.sign("server")
    mine = authority.sign("client")
    security = ServerSecurity(str(cert), str(key), str(authority.cert))
    root = authority.cert.read_bytes()
    with serving(index, security=security) as server:
        known = grpc.ssl_channel_credentials(
            root, mine.key.read_bytes(), mine.cert.read_bytes()
        )
        assert len(search(server.port, known).counts) == 2
        with pytest.raises(grpc.RpcError):
            search(server.port, grpc.ssl_channel_credentials(root))


def test_a_token_must_be_the_right_one(index: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open-sesame\n")
    security = ServerSecurity(token_file=str(tmp_path / "token"))
    with serving(index, security=security) as server, stub(server.port) as client:
        good = (("authorization", "Bearer open-sesame"),)
        assert len(client.Search(request(QUERIES), metadata=good).counts) == 2
        bad: list[Any] = [(), (("authorization", "Bearer open-sesam"),)]
        for metadata in bad:
            with pytest.raises(grpc.RpcError) as caught:
                client.Search(request(QUERIES), metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            reply = health.Check(health_pb2.HealthCheckRequest())
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tls_cert=x.pem"], "--tls_key"),
        (["--tls_client_ca=x.pem"], "requires --tls_cert"),
        (["--tls_cert=no.pem", "--tls_key=no.key"], "cannot read no.key"),
        (["--token_file=TOKEN", "--host=0.0.0.0"], "unencrypted"),
        (["--token_file=EMPTY"], "EMPTY does not hold"),
    ],
)
def test_incomplete_security_is_refused_at_the_start(
    index: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    said: str,
) -> None:
    (tmp_path / "TOKEN").write_text("secret")
    (tmp_path / "EMPTY").write_text("\n")
    for name in ("TOKEN", "EMPTY"):
        flags = [flag.replace(f"={name}", f"={tmp_path / name}") for flag in flags]
    assert run([str(index), "--port=0", *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(index: Path) -> None:
    with (
        serving(index) as server,
        pytest.raises(InputError, match="choose another port"),
        serving(index, port=server.port),
    ):
        pass


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("10.0.0.1", False), ("index.example", False)],
)  # fmt: skip
def test_loopback_is_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
