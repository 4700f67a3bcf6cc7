import ctypes
import subprocess
import sys

import pytest

from silhouette_seg.server.malloc import ARENAS

PROGRAM = """
import ctypes, re, sys, threading
from pathlib import Path
from silhouette_seg.server.malloc import share_arenas

if "shared" in sys.argv:
    assert share_arenas()
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
    not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library has no arenas to count"
)
@pytest.mark.parametrize("shared", [True, False])
def test_threads_share_arenas(shared, tmp_path):
    command = [sys.executable, "-c", PROGRAM, tmp_path / "info.xml", *["shared"] * shared]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (int(told.stdout) <= ARENAS) == shared
