"""A gRPC call by hand, over a socket, to do what no client library does.

    with RawConnection("127.0.0.1:50051", window=0) as connection:
        connection.open("/clipseed.index.v1.IndexService/Search", token="")
        connection.send(message, end=True)

HTTP/2 (RFC 9113) with headers as literals (RFC 7541, without Huffman codes).
"""

import socket
import struct
from typing import Self

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0x0, 0x1, 0x4
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_INITIAL_WINDOW = 0x4
_MAX_FRAME_BYTES = 16_384


class RawConnection:
    """A connection whose calls are opened, sent and read only when told.

    Args:
        address: `host:port`.
        window: bytes of each answer that the server may send.
    """

    def __init__(self, address: str, window: int = 65_535) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), 10)
        self._authority = address
        self._stream = -1
        self._greeted = False
        self._socket.sendall(_PREFACE)
        self._frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, window))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def open(self, path: str, token: str = "") -> None:
        """Open the next call; `send` is about this one from now on."""
        self._stream += 2
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", self._authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        if token:
            headers.append(("authorization", f"Bearer {token}"))
        block = b"".join(_literal(name, value) for name, value in headers)
        self._frame(_HEADERS, _END_HEADERS, self._stream, block)

    def begin(self, size: int) -> None:
        """Announce a message of `size` bytes."""
        self.send_bytes(struct.pack(">BI", 0, size))

    def send_bytes(self, data: bytes, end: bool = False) -> None:
        """Send bytes of the announced message."""
        for start in range(0, len(data), _MAX_FRAME_BYTES):
            part = data[start : start + _MAX_FRAME_BYTES]
            last = end and start + len(part) == len(data)
            self._frame(_DATA, _END_STREAM if last else 0, self._stream, part)

    def send(self, message: bytes, end: bool = True) -> None:
        """Send a whole message."""
        self.begin(len(message))
        self.send_bytes(message, end)

    def drain(self, seconds: float) -> bytes:
        """Return what the server sends within a time."""
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            return b""
        if data and not self._greeted:
            self._frame(_SETTINGS, _ACK, 0, b"")
            self._greeted = True
        return data

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
        self._socket.sendall(head + struct.pack(">I", stream) + payload)


def _literal(name: str, value: str) -> bytes:
    """Encode a header that is not to be indexed; lengths below 127."""
    text = [part.encode() for part in (name, value)]
    return b"\0" + b"".join(bytes([len(part)]) + part for part in text)
