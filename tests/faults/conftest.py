"""What these tests share with those of the whole application."""

from tests.integration.conftest import gated, repository, settings_with

__all__ = ["gated", "repository", "settings_with"]
