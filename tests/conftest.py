import os

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Beside other processes the threads of an operation would wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

MEASURED = "measured"
"""The property of a test that holds what it measured."""

# A deadline is a timing assertion, and these run on shared cores.
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
        default=2000,
        metavar="N",
        help="requests that must not make a server or a client grow",
    )
    parser.addoption(
        "--real-models",
        action="store_true",
        help="measure memory with the models of model_repository/ instead of a tiny one",
    )


@pytest.fixture(scope="session")
def mutations(request: pytest.FixtureRequest) -> int:
    """How many damaged images an HTTP fuzz test sends."""
    return int(request.config.getoption("--mutations"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests measured, also those that passed in another process."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == MEASURED:
                    terminalreporter.write_line(f"{report.nodeid}: {value}")
