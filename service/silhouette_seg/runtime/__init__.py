"""Threads and the CPU quota of this process."""
