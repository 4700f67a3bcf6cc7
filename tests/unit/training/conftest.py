"""One thread for torch, a data pack, and a run of training. The tests only read pack and run."""

from tests.support.training_run import data, one_thread, recipe, recipe_file, run  # noqa: F401
