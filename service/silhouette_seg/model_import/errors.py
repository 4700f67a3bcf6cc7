"""Error of a graph that cannot be imported or served."""


class ModelRejected(ValueError):
    """A graph or a folder of a model cannot be served; the message is a sentence."""
