"""Authentication of servers and clients: TLS, mutual TLS, and a token."""

import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from clipseed.errors import InputError

if TYPE_CHECKING:
    _Handler = grpc.RpcMethodHandler[Any, Any]  # of any method, so of any message

_OPEN_METHODS = ("/grpc.health.v1.Health/", "/grpc.reflection.")


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


class TokenInterceptor(grpc.ServerInterceptor):
    """Refuses calls without the token, except for health and reflection."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()
        self._refusal: _Handler = grpc.unary_unary_rpc_method_handler(_refuse)

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], _Handler | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "_Handler | None":
        """Pass a call on, or refuse it."""
        if handler_call_details.method.startswith(_OPEN_METHODS):
            return continuation(handler_call_details)
        metadata = dict(handler_call_details.invocation_metadata)
        sent = str(metadata.get("authorization", "")).encode()
        if hmac.compare_digest(sent, self._expected):
            return continuation(handler_call_details)
        return self._refusal


def _refuse(_: object, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "bad_token: send the server's token")


def _bad(message: str) -> InputError:
    return InputError("bad_security", message)
