"""Fixtures shared with the tests of the whole application."""

from tests.integration.conftest import gated, repository, settings_with

__all__ = ["gated", "repository", "settings_with"]
