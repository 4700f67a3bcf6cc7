"""`python -m silhouette_seg` is the `silhouette` command."""

from silhouette_seg.cli.main import main

main()
