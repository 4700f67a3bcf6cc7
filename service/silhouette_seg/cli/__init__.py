"""The `silhouette` command: `serve`, `segment` and `models`."""
