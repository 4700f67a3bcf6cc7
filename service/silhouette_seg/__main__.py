"""Entry point of `python -m silhouette_seg`, the same as the `silhouette` command."""

from silhouette_seg.cli.main import main

main()
