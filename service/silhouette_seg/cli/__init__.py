"""The `silhouette` command."""
