"""A memory limit for processes, by a cgroup below that of this process, as containers have."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

ROOT = Path("/sys/fs/cgroup/memory")
"""Mount point of the memory controller of cgroup v1."""


@contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """Creates a cgroup with this limit in bytes; the kernel kills a process that exceeds it.

    Raises OSError if there is no cgroup v1 or this process may not create a cgroup.
    """
    cgroup = Path(mkdtemp(prefix="silhouette-", dir=_own_cgroup()))
    try:
        (cgroup / "memory.limit_in_bytes").write_text(str(limit))
        yield cgroup
    finally:
        cgroup.rmdir()


def in_cgroup(cgroup: Path, command: Sequence[str]) -> tuple[str, ...]:
    """Returns a command that runs the given command in the cgroup."""
    return ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(cgroup), *command)


def _own_cgroup() -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return ROOT / path.lstrip("/")
    raise OSError("there is no cgroup v1 for memory")
