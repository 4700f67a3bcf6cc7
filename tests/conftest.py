import os

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several test processes share the processors: more threads would wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

MEASURED = "measured"
"""Name of the test property that holds a measurement."""

# A deadline would be a timing assertion, and the tests run on shared processors.
settings.register_profile("shared cores", deadline=None)
settings.load_profile("shared cores")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mutations",
        type=int,
        default=2000,
        metavar="N",
        help="damaged images for the fuzz tests; unit tests use a tenth",
    )
    parser.addoption(
        "--requests",
        type=int,
        default=500,
        metavar="N",
        help="requests that must not make a server or a client grow; more find smaller leaks",
    )
    parser.addoption(
        "--real-models",
        action="store_true",
        help="measure memory with the models of model_repository/ instead of a tiny one",
    )
    parser.addoption(
        "--generators",
        action="store_true",
        help="generate clients with openapi-generator and openapi-typescript, which are downloaded",
    )


@pytest.fixture(scope="session")
def mutations(request: pytest.FixtureRequest) -> int:
    """Number of damaged images that an HTTP fuzz test sends."""
    return int(request.config.getoption("--mutations"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the measurements of all tests, including those of other processes."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == MEASURED:
                    terminalreporter.write_line(f"{report.nodeid}: {value}")
