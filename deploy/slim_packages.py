"""Makes the installed packages of the image smaller. The image build runs it.

    python slim_packages.py /opt/silhouette/lib/python3.11/site-packages

It removes files that no request uses, strips symbols, and replaces large libraries of OpenCV's
wheel. `check_packages.py` then imports every extension module.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

UNUSED = (
    # The image serves the models in /models.
    "silhouette_seg/model_repository",
    # Converters, and a second library for C programs.
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "onnxruntime/quantization",
    "onnxruntime/datasets",
    "onnxruntime/capi/libonnxruntime.so.*",
    # Compilers for Fortran and C, C headers and static libraries.
    "numpy/distutils",
    "numpy/f2py",
    "numpy/_core/include",
    "numpy/_core/lib",
    # Windows of Tk.
    "PIL/_imagingtk.*.so",
    # A second documentation page.
    "fastapi_offline/static/redoc.standalone.js",
    # Tests, type stubs, and sources of Cython.
    "numpy/_core/_simd.*.so",
    "**/tests",
    "**/test",
    "**/*.pyi",
    "**/*.pyx",
    "**/*.pxd",
)
"""Patterns of files and folders that no request uses."""

LEXERS = {"__init__", "_mapping", "python", "special"}
"""Modules of `pygments/lexers` that stay: typer highlights Python code in its error messages."""

FFMPEG = ("avcodec", "avformat", "avutil", "swresample", "swscale")
SHARED = {"av.libs": FFMPEG, "pillow.libs": ("avif",)}
"""Folder of a wheel's libraries -> libraries that OpenCV's wheel has too."""
REPLACED_ONLY = ("libvpx-*", "libssl-*", "libcrypto-*", "libaom-*")
"""Libraries in OpenCV's wheel that only its copies of the shared libraries load."""


def remove_unused(packages: Path) -> None:
    """Deletes the files and folders that `UNUSED` and `LEXERS` exclude."""
    for pattern in UNUSED:
        for path in list(packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for module in packages.glob("pygments/lexers/**/*.py*"):
        if module.name.partition(".")[0] not in LEXERS:
            module.unlink()


def extension_modules(packages: Path) -> Iterator[Path]:
    """Yields every extension module, without the libraries that wheels keep in `*.libs`."""
    for path in sorted(packages.rglob("*.so")):
        if not any(folder.suffix == ".libs" for folder in path.parents):
            yield path


def strip_symbols(packages: Path) -> None:
    """Strips the symbols of extension modules that only a debugger reads.

    The libraries in `*.libs` stay as they are: auditwheel moved their segments, and `strip` damages
    some of them.
    """
    subprocess.run(["strip", "--strip-unneeded", *extension_modules(packages)], check=True)


def share_libraries(packages: Path) -> None:
    """Replaces libraries in OpenCV's wheel by links to those of PyAV and Pillow.

    The service opens videos with PyAV and AVIF with Pillow, but OpenCV cannot be imported without
    these libraries. Raises ValueError if the major versions of a library differ.
    """
    own = packages / "opencv_python_headless.libs"
    for folder, names in SHARED.items():
        shared = packages / folder
        for name in names:
            [copy], [original] = (list(libs.glob(f"lib{name}-*.so.*")) for libs in (own, shared))
            if _major(copy) != _major(original):
                raise ValueError(f"{copy.name} and {original.name} have different major versions")
            _link(copy, original)
        # The loader searches what a shared library needs beside the link.
        for library in shared.iterdir():
            _link(own / library.name, library)
    for pattern in REPLACED_ONLY:
        for library in own.glob(pattern):
            if not library.is_symlink():
                library.unlink()


def _major(library: Path) -> str:
    return library.name.partition(".so.")[2].partition(".")[0]


def _link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(Path("..") / target.parent.name / target.name)


def replace_openblas(packages: Path, system: Path) -> None:
    """Replaces the OpenBLAS in OpenCV's wheel by Debian's LAPACK and BLAS, found below `system`.

    Only solvers of OpenCV call it, and no request uses those. Raises ValueError if a library is
    missing.
    """
    own = packages / "opencv_python_headless.libs"
    [openblas] = own.glob("libopenblas*.so")
    [fortran] = own.glob("libgfortran-*.so.5.*")
    for name in ("liblapack.so.3", "libblas.so.3"):
        [library] = system.glob(f"*/*/{name}")
        shutil.copy(library, own / name)
    openblas.unlink()
    openblas.symlink_to("liblapack.so.3")
    (own / "libgfortran.so.5").symlink_to(fortran.name)


def main(packages: Path, system: Path = Path("/usr/lib")) -> None:
    remove_unused(packages)
    strip_symbols(packages)
    share_libraries(packages)
    replace_openblas(packages, system)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
