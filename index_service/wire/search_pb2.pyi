from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class SearchRequest(_message.Message):
    __slots__ = ("queries", "dimension", "embedder_id", "k", "threshold")
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_ID_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    queries: bytes
    dimension: int
    embedder_id: str
    k: int
    threshold: float
    def __init__(self, queries: _Optional[bytes] = ..., dimension: _Optional[int] = ..., embedder_id: _Optional[str] = ..., k: _Optional[int] = ..., threshold: _Optional[float] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("version", "counts", "ids", "similarities", "cut")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    SIMILARITIES_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    version: str
    counts: _containers.RepeatedScalarFieldContainer[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    similarities: _containers.RepeatedScalarFieldContainer[float]
    cut: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, version: _Optional[str] = ..., counts: _Optional[_Iterable[int]] = ..., ids: _Optional[_Iterable[str]] = ..., similarities: _Optional[_Iterable[float]] = ..., cut: _Optional[_Iterable[bool]] = ...) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatsResponse(_message.Message):
    __slots__ = ("version", "embedder_id", "dimension", "count", "kind", "shard", "shards", "threshold", "recall", "queries", "reloads", "uptime_s", "memory_bytes", "build")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_ID_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    RELOADS_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    version: str
    embedder_id: str
    dimension: int
    count: int
    kind: str
    shard: int
    shards: int
    threshold: float
    recall: float
    queries: int
    reloads: int
    uptime_s: float
    memory_bytes: int
    build: str
    def __init__(self, version: _Optional[str] = ..., embedder_id: _Optional[str] = ..., dimension: _Optional[int] = ..., count: _Optional[int] = ..., kind: _Optional[str] = ..., shard: _Optional[int] = ..., shards: _Optional[int] = ..., threshold: _Optional[float] = ..., recall: _Optional[float] = ..., queries: _Optional[int] = ..., reloads: _Optional[int] = ..., uptime_s: _Optional[float] = ..., memory_bytes: _Optional[int] = ..., build: _Optional[str] = ...) -> None: ...

class ReloadRequest(_message.Message):
    __slots__ = ("directory", "allow_other_embedder")
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    ALLOW_OTHER_EMBEDDER_FIELD_NUMBER: _ClassVar[int]
    directory: str
    allow_other_embedder: bool
    def __init__(self, directory: _Optional[str] = ..., allow_other_embedder: _Optional[bool] = ...) -> None: ...

class ReloadResponse(_message.Message):
    __slots__ = ("version", "previous_version")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    previous_version: str
    def __init__(self, version: _Optional[str] = ..., previous_version: _Optional[str] = ...) -> None: ...
