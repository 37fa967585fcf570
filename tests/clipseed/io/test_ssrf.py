"""Where connections may go, over HTTP and TLS, by `fetch`."""

import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from clipseed.errors import InputError
from clipseed.io import ssrf
from clipseed.io.http import FetchConfig, fetch
from clipseed.io.ssrf import Deadline, is_public
from tests.support.web_server import Server

OPEN = FetchConfig(allow_private=True, timeout_s=5.0, max_bytes=1000)
HASTY = FetchConfig(allow_private=True, timeout_s=0.4, max_bytes=1000)


def reason(uri: str, config: FetchConfig = OPEN) -> str:
    with pytest.raises(InputError) as caught:
        fetch(uri, config, sleep=lambda _: None)
    return caught.value.reason


def test_a_deadline_moves_with_progress_up_to_the_total() -> None:
    deadline = Deadline(0.2, 0.5)
    start_s = time.monotonic()
    while time.monotonic() - start_s < 0.4:  # twice the patience
        assert 0 < deadline.left_s() <= 0.2
        time.sleep(0.05)
        deadline.renew()
    assert deadline.left_s() <= 0.1
    time.sleep(0.1)
    deadline.renew()
    with pytest.raises(TimeoutError):
        deadline.left_s()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "127。0。0。1",
        "user:password@127.0.0.1",
    ],
)
def test_loopback_is_refused_before_a_connection(server: Server, host: str) -> None:
    url = f"http://{host}:{server.server_port}/"
    assert reason(url, FetchConfig()) == "private_address"
    time.sleep(0.02)
    assert server.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1]/",
        "https://10.0.0.1/",
        "http://169.254.169.254/computeMetadata/v1/",
        "http://192.168.1.1",
        "http://[fe80::1]/",
        "HTTP://172.16.0.1/",
    ],
)
def test_private_addresses_are_refused(url: str) -> None:
    assert reason(url, FetchConfig()) == "private_address"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0",
     "100.100.100.200", "192.0.0.192", "168.63.129.16", "198.18.0.1", "224.0.0.1",
     "240.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1%e", "fd00::1",
     "fec0::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1", "::ffff:7f00:1",
     "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "::127.0.0.1", "4000::1"],
)  # fmt: skip
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8",
     "64:ff9b::808:808"],
)  # fmt: skip
def test_ordinary_addresses_are_public(address: str) -> None:
    assert is_public(address)


def self_signed(folder: Path) -> ssl.SSLContext:
    """Make a server's TLS context for `localhost` that no client trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = folder / "server.pem"
    file.write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_tls_names_the_host_and_distrusts_strangers(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = self_signed(tmp_path)
    names: list[str | None] = []
    context.set_servername_callback(lambda _, name, __: names.append(name))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://localhost:{server.server_port}/"
    assert reason(url) == "unreachable"
    assert names == ["localhost"]  # once: a bad certificate does not get better
    assert server.requests == []

    trusting = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
    monkeypatch.setattr(ssrf, "_tls", lambda: trusting)
    assert fetch(url, OPEN) == b"pixels"
    assert server.requests[0][1]["Host"] == f"localhost:{server.server_port}"
    by_address = f"https://127.0.0.1:{server.server_port}/"
    assert reason(by_address) == "unreachable"  # the certificate names no address


def test_a_tls_handshake_that_stalls_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start_s = time.monotonic()
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert reason(url, HASTY) == "timeout"
        assert time.monotonic() - start_s < 3 * HASTY.timeout_s
