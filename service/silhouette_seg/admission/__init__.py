"""Limits on how much work is accepted: requests, photos, streams, body memory and API keys."""
