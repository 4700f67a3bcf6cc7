"""A real limit of memory for a process: a control group below our own, as containers have."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

ROOT = Path("/sys/fs/cgroup/memory")


@contextmanager
def limited(limit: int) -> Iterator[Path]:
    """A group of at most so many bytes: whoever needs more in it is killed.

    Raises OSError where none can be made: no control groups of version 1, or not allowed to us.
    """
    group = Path(mkdtemp(prefix="silhouette-", dir=_ours()))
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield group
    finally:
        group.rmdir()


def within(group: Path, command: Sequence[str]) -> tuple[str, ...]:
    """The command that runs that command in the group."""
    return ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), *command)


def _ours() -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return ROOT / path.lstrip("/")
    raise OSError("there is no control group of version 1 for memory")
