import ctypes
import subprocess
import sys

import pytest

from silhouette_seg.server.malloc import MAX_ARENAS

PROGRAM = """
import ctypes, re, sys, threading
from pathlib import Path
from silhouette_seg.server.malloc import limit_malloc_arenas

if "limited" in sys.argv:
    assert limit_malloc_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
together = threading.Barrier(8)

def allocate():
    together.wait()
    libc.malloc(100_000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fopen.restype = ctypes.c_void_p
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
print(len(re.findall("<heap nr=", Path(sys.argv[1]).read_text())))
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library cannot report its arenas"
)
@pytest.mark.parametrize("limited", [True, False])
def test_malloc_arenas_of_threads_are_limited(limited, tmp_path):
    command = [sys.executable, "-c", PROGRAM, tmp_path / "info.xml", *["limited"] * limited]
    counted = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (int(counted.stdout) <= MAX_ARENAS) == limited
