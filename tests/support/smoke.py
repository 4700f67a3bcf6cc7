"""Uses an installed service once: a photo over HTTP and a frame over its WebSocket.

    python tests/support/smoke.py docs/pictures/portrait.jpg

The script starts `silhouette serve` from the environment of its interpreter, outside the checkout.
It fails if an answer is not a PNG, or if the person is not found.
"""

import asyncio
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from silhouette_seg.client import AsyncClient, Result

PNG = b"\x89PNG\r\n"
URL = re.compile(r"http://127\.0\.0\.1:\d+")


async def use(url: str, photo: bytes) -> None:
    """Segments the photo in both ways. Raises AssertionError for a wrong answer."""
    async with AsyncClient(url) as client:
        done = await client.segment(photo, output="cutout")
        assert done.body.startswith(PNG)
        assert done.foreground
        async with client.stream(output="mask", format="png") as stream:
            async for answer in stream.map(_once(photo)):
                assert isinstance(answer, Result), answer
                assert answer.picture.startswith(PNG)
                print(f"a photo by {done.model}, and a frame: both answered")


async def _once(photo: bytes):
    yield photo


def main(photo: Path) -> None:
    """Starts the server, uses it and stops it."""
    content = photo.read_bytes()
    command = [str(Path(sys.executable).with_name("silhouette")), "serve", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as elsewhere,
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=elsewhere) as server,
    ):
        try:
            assert server.stderr is not None
            for line in server.stderr:
                print(line, end="", file=sys.stderr)
                if found := URL.search(line):
                    asyncio.run(use(found[0], content))
                    break
            else:
                sys.exit("the server ended without an address")
        finally:
            server.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
