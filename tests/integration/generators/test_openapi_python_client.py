"""The client that openapi-python-client generates from the document of a running server."""

import sys
from importlib.util import find_spec

import pytest

from tests.integration.generators.conftest import CLIENTS
from tests.support.documents import ROOT, blocks

pytestmark = pytest.mark.skipif(
    find_spec("openapi_python_client") is None, reason="openapi-python-client is not installed"
)


def test_openapi_python_client_gets_results_and_problems(workshop):
    documented = blocks(ROOT / "docs" / "clients.md")
    (config,) = [block.code for block in documented if "content_type_overrides" in block.code]
    (workshop.folder / "generator.json").write_text(config)

    output = workshop.run(
        *(sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json"),
        *("--config", "generator.json", "--meta", "none", "--output-path", "silhouette_client"),
    )

    # No part is missing but the route for WebRTC, with a body of type application/sdp.
    assert output.count("WARNING") == 1, output
    assert "WARNING parsing POST /v1/webrtc" in output
    workshop.check_client(
        sys.executable, CLIENTS / "openapi_python_client.py", PYTHONPATH=str(workshop.folder)
    )
