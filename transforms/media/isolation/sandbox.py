"""Confining the decoder process: no network, no files, no new programs, bounded memory.

A decoder is a large C program that reads what strangers made. `confine` takes from the
calling process, for good, what decoding does not need:

- Landlock (Linux 5.13): opening any file but Python's own code, and writing any; later
  kernels add TCP, signals and abstract sockets.
- seccomp: sockets of all kinds, running programs, new processes, tracing others. Where
  Landlock is missing, also opening files at all; the code must be loaded by then.
- Resource limits: memory, CPU time of each call, open files, core dumps.

Files that are open already stay so: the input comes in as one. What the kernel does not
have is left out, and named to the caller.
"""

import contextlib
import ctypes
import os
import platform
import resource
import struct
import sysconfig
from collections.abc import Iterable

_MEMORY_BYTES = 3 << 30
_OPEN_FILES = 64

NO_LANDLOCK = "Landlock"
NO_SECCOMP = "seccomp"

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

# linux/landlock.h. The numbers of its calls are the same on all machines.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_RIGHTS_BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15}  # bits of access to files
_MOST_RIGHTS = 16
_NET_SINCE, _SCOPED_SINCE = 4, 6
_TCP = 0b11  # binding, connecting
_SCOPED = 0b11  # abstract Unix sockets, signals

# Where code may still be loaded from once the process is confined.
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")

# linux/filter.h, linux/seccomp.h, linux/audit.h
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 6
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _EACCES, _ENOSYS = 1, 13, 38
_AT_NUMBER, _AT_MACHINE, _AT_FIRST_ARGUMENT = 0, 4, 16
_X32 = 0x40000000  # x86-64's second set of numbers
_CLONE_THREAD = 0x10000

_MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41, "connect": 42, "bind": 49, "listen": 50, "socketpair": 53,
            "fork": 57, "vfork": 58, "execve": 59, "ptrace": 101, "execveat": 322,
            "process_vm_readv": 310, "process_vm_writev": 311, "io_uring_setup": 425,
            "pidfd_getfd": 438, "kill": 62, "clone": 56, "clone3": 435,
            "open": 2, "openat": 257, "creat": 85, "openat2": 437,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198, "socketpair": 199, "bind": 200, "listen": 201,
            "connect": 203, "ptrace": 117, "execve": 221, "execveat": 281,
            "process_vm_readv": 270, "process_vm_writev": 271, "io_uring_setup": 425,
            "pidfd_getfd": 438, "kill": 129, "clone": 220, "clone3": 435,
            "openat": 56, "openat2": 437,
        },
    ),
}  # fmt: skip
_OPENING = frozenset({"open", "openat", "creat", "openat2"})


def confine(
    code: Iterable[str] = (), use_landlock: bool = True, use_seccomp: bool = True
) -> tuple[str, ...]:
    """Confine this process, for good.

    Args:
        code: folders that modules may still be loaded from, besides Python's.
        use_landlock: False for what happens on a kernel without it.
        use_seccomp: the same for seccomp.

    Returns:
        what the kernel does not have, of `NO_LANDLOCK` and `NO_SECCOMP`.
    """
    _limit_resources()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    landlocked = use_landlock and _landlock(libc, [*_python_code(), *code])
    filtered = use_seccomp and _filter_calls(libc, forbid_opening=not landlocked)
    missing = {NO_LANDLOCK: not landlocked, NO_SECCOMP: not filtered}
    return tuple(name for name, lacks in missing.items() if lacks)


def limit_cpu(seconds: float) -> None:
    """End this process once it has used so much more CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    total = used.ru_utime + used.ru_stime + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or total < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (int(total) + 1, hard))


def _limit_resources() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    wanted = {
        # On top of what is mapped: libraries reserve more on machines of more cores.
        resource.RLIMIT_AS: pages * resource.getpagesize() + _MEMORY_BYTES,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in wanted.items():
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))


def _python_code() -> list[str]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return [*(sysconfig.get_path(name) for name in names), *_SYSTEM_LIBRARIES]


def _landlock(libc: ctypes.CDLL, readable: Iterable[str]) -> bool:
    """Allow reading below the given paths, and no other access to files."""
    version = _call(libc, _CREATE_RULESET, None, 0, _GET_VERSION)
    if version < 1:
        return False
    rights = (1 << _RIGHTS_BY_VERSION.get(version, _MOST_RIGHTS)) - 1
    fields = [rights]
    if version >= _NET_SINCE:
        fields.append(_TCP)
    if version >= _SCOPED_SINCE:
        fields.append(_SCOPED)
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    ruleset = _call(libc, _CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        for path in dict.fromkeys(readable):
            _allow_reading(libc, ruleset, path)
        return _call(libc, _RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # This machine keeps its libraries elsewhere.
        return
    rights = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
    rule = struct.pack("=Qi", rights, place)
    _call(libc, _ADD_RULE, ruleset, 1, rule, 0)
    os.close(place)


def _call(libc: ctypes.CDLL, number: int, *arguments: int | bytes | None) -> int:
    wide = (ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    return libc.syscall(ctypes.c_long(number), *wide)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _filter_calls(libc: ctypes.CDLL, forbid_opening: bool) -> bool:
    known = _MACHINES.get(platform.machine())
    if known is None:
        return False
    instructions = _program(*known, forbid_opening)
    program = _Program(len(instructions), b"".join(instructions))
    return libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program)) == 0


def _program(
    machine: int, numbers: dict[str, int], forbid_opening: bool
) -> list[bytes]:
    """Return a BPF program that fails the forbidden calls and allows all others."""
    program = [
        _step(_LOAD, _AT_MACHINE),
        _step(_JUMP_EQUAL, machine, 1, 0),
        _step(_RETURN, _ERRNO | _EPERM),
        _step(_LOAD, _AT_NUMBER),
        _step(_JUMP_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, _ERRNO | _EPERM),
    ]
    for name, number in numbers.items():
        if name in _OPENING and not forbid_opening:
            continue
        program += [_step(_JUMP_EQUAL, number, 0, len(_verdict(name))), *_verdict(name)]
    return [*program, _step(_RETURN, _ALLOW)]


def _verdict(name: str) -> list[bytes]:
    """Return what happens to a call of that name; each way through it ends."""
    if name == "clone3":  # Its flags are out of sight: the caller falls back to clone.
        return [_step(_RETURN, _ERRNO | _ENOSYS)]
    if name in _OPENING:
        return [_step(_RETURN, _ERRNO | _EACCES)]
    refused, allowed = _step(_RETURN, _ERRNO | _EPERM), _step(_RETURN, _ALLOW)
    argument = _step(_LOAD, _AT_FIRST_ARGUMENT)
    if name == "clone":  # Threads are allowed.
        return [argument, _step(_JUMP_ANY_BIT, _CLONE_THREAD, 0, 1), allowed, refused]
    if name == "kill":  # As is ending oneself.
        return [argument, _step(_JUMP_EQUAL, os.getpid(), 0, 1), allowed, refused]
    return [refused]


def _step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)
