from tests.integration.conftest import gated, repository, service, settings_with

__all__ = ["gated", "repository", "service", "settings_with"]
