"""Authentication of servers and clients: TLS, mutual TLS, and a token."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc

from clipseed.errors import InputError


@dataclass(frozen=True)
class ServerSecurity:
    """Files of a server; "" for none.

    Attributes:
        cert: certificate chain, PEM.
        key: private key of `cert`, PEM.
        client_ca: authority that must have signed clients' certificates (mutual TLS),
            PEM.
        token_file: file with the token that calls must carry.
    """

    cert: str = ""
    key: str = ""
    client_ca: str = ""
    token_file: str = ""


def server_credentials(
    security: ServerSecurity, host: str
) -> grpc.ServerCredentials | None:
    """Return the credentials to listen with, or None to listen without TLS.

    Raises:
        InputError: `bad_security`, for half of a pair, a file that cannot be read, or a
            token that would be sent unencrypted.
    """
    if bool(security.cert) != bool(security.key):
        raise _bad("TLS requires a certificate and its key: set --tls_cert, --tls_key")
    if security.client_ca and not security.cert:
        raise _bad("--tls_client_ca requires --tls_cert and --tls_key")
    if not security.cert:
        if security.token_file and not is_loopback(host):
            raise _bad(
                "without TLS the token would be sent unencrypted: set --tls_cert and "
                "--tls_key, or listen on loopback"
            )
        return None
    return grpc.ssl_server_credentials(
        [(read(security.key), read(security.cert))],
        read(security.client_ca) if security.client_ca else None,
        require_client_auth=bool(security.client_ca),
    )


def read(path: str) -> bytes:
    """Read a file of credentials.

    Raises:
        InputError: `bad_security`.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _bad(f"cannot read {path}: {error.strerror}") from error


def read_token(path: str) -> str:
    """Read the token in a file, without the end of the line.

    Raises:
        InputError: `bad_security` for a file without a token.
    """
    try:
        token = read(path).decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not token:
        raise _bad(f"{path} does not hold a token in ASCII; write one to it")
    return token


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _bad(message: str) -> InputError:
    return InputError("bad_security", message)
