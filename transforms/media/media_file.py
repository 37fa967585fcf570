"""A local file as FFmpeg reads it: by bytes at offsets, never by its name.

FFmpeg that knows a name can open others: a playlist, a concat script or an image
sequence names the files beside it. So a file is opened here, once, and FFmpeg is given
an object to read from. The open file also passes into the decoder process, which then
needs no access to the disk.
"""

import io
import os
import stat
from types import TracebackType

from clipseed.errors import InputError


class MediaFile:
    """A regular file that is open for reading.

    Attributes:
        fd: its file descriptor, closed by `close`.
        suffix: of its name, such as ".mp4", by which FFmpeg knows raw streams.
        size_bytes: its length when it was opened.
        max_bytes: how many bytes may be read of it, again and again; None for any.
        read_bytes: how many were read.
    """

    def __init__(self, fd: int, suffix: str, max_bytes: int | None = None) -> None:
        self.fd = fd
        self.suffix = suffix
        self.max_bytes = max_bytes
        self.read_bytes = 0
        self.size_bytes = os.fstat(fd).st_size

    @classmethod
    def open(cls, path: str) -> "MediaFile":
        """Open a path.

        Raises:
            InputError: `empty_file`, or `unreadable` for what is not a regular file.
        """
        try:
            # A pipe without a writer must not block.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            message = f"The file cannot be opened: {error.strerror}."
            raise InputError("unreadable", message) from error
        file = cls(fd, os.path.splitext(path)[1])
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise InputError("unreadable", "It is not a regular file.")
            if file.size_bytes == 0:
                raise InputError("empty_file", "The file has no bytes; fetch it again.")
        except InputError:
            file.close()
            raise
        return file

    def reader(self) -> "Reader":
        """Return a new reader of the whole file, with a position of its own."""
        return Reader(self)

    def count(self, read_bytes: int) -> None:
        """Count what a reader read.

        Raises:
            InputError: `read_too_often`: it is more than may be read.
        """
        self.read_bytes += read_bytes
        if self.max_bytes is not None and self.read_bytes > self.max_bytes:
            raise InputError(
                "read_too_often",
                f"{self.max_bytes} bytes of it were read, which is many times what it "
                f"holds ({self.size_bytes} bytes): its index leads back and forth. "
                "Write it again with a tool that you trust.",
            )

    def close(self) -> None:
        """Close the file; its readers fail from then on."""
        os.close(self.fd)

    def __enter__(self) -> "MediaFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Reader:
    """What PyAV needs of a file object. Several share one file descriptor.

    Attributes:
        name: what FFmpeg takes for the file's name.
    """

    def __init__(self, file: MediaFile) -> None:
        self.name = f"input{file.suffix}"
        self._file = file
        self._fd = file.fd
        self._position = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes from the position on."""
        data = os.pread(self._fd, size, self._position)
        self._position += len(data)
        self._file.count(len(data))
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position, and return it."""
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += os.fstat(self._fd).st_size
        if offset < 0:
            raise OSError(22, "a position before the file's start")
        self._position = offset
        return offset

    def tell(self) -> int:
        """Return the position."""
        return self._position


Source = str | MediaFile
"""A local path, or an open file."""
