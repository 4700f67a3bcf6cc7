"""Settings of the models that the command loads in its own process."""

import pytest

from silhouette_seg.cli.local import QUEUE_TIMEOUT_S, with_patience
from silhouette_seg.settings import Settings


@pytest.mark.parametrize(("variables", "expected"), [({}, QUEUE_TIMEOUT_S), ({"TIMEOUT": "5"}, 5)])
def test_photos_wait_for_the_model_unless_a_setting_bounds_it(monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(f"SILHOUETTE_QUEUE_{name}_S", value)
    assert with_patience(Settings()).queue_timeout_s == expected
