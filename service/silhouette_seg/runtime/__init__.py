"""Threads of this process, its CPU quota, and the optional dependencies that are installed."""
