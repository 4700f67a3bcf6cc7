"""Load tests of a running server. They use its public interfaces and import none of its code."""
