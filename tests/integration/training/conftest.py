"""One thread for torch, a data pack, and a run of training. The tests only read pack and run."""

from tests.support.training_run import (  # noqa: F401
    data,
    frozen_garbage,
    one_thread,
    recipe,
    recipe_file,
    run,
)
