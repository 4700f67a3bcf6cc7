import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mutations",
        type=int,
        default=2000,
        metavar="N",
        help="damaged images for the fuzz tests; unit tests use a tenth",
    )


@pytest.fixture(scope="session")
def mutations(request: pytest.FixtureRequest) -> int:
    """How many damaged images an HTTP fuzz test sends."""
    return int(request.config.getoption("--mutations"))
