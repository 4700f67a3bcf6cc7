"""Imports every extension module of the environment that runs it. The image build does so.

python check_packages.py

A library that is missing or damaged then ends the build, and not a request.
"""

import importlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

NO_MODULES = {"cv2.cv2", "onnxruntime.capi.libonnxruntime_providers_shared"}
"""Libraries with the suffix of a module: `cv2` loads the first, and only GPUs need the second."""


def module_names(packages: Path) -> Iterator[str]:
    """Yields the import names of the extension modules below a folder of packages."""
    for path in sorted(packages.rglob("*.so")):
        parts = path.relative_to(packages).parts
        name = ".".join((*parts[:-1], path.name.partition(".")[0]))
        if not parts[0].endswith(".libs") and name not in NO_MODULES:
            yield name


def main() -> None:
    names = list(module_names(Path(sysconfig.get_path("platlib"))))
    for name in names:
        importlib.import_module(name)
    import cv2
    import numpy as np

    # LAPACK and BLAS are called, not only loaded.
    solved, solution = cv2.solve(2 * np.eye(8), np.ones((8, 1)), flags=cv2.DECOMP_SVD)
    if not solved or not np.allclose(solution, 0.5):
        sys.exit("OpenCV's LAPACK gives a wrong solution")
    print(f"{len(names)} extension modules can be imported")


if __name__ == "__main__":
    main()
