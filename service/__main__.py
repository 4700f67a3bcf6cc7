"""`python -m service` is the `silhouette` command."""

from service.cli import main

main()
