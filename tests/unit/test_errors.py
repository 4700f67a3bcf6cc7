import pytest

from silhouette_seg.errors import (
    MAX_ECHOED_CHARACTERS,
    Draining,
    Overloaded,
    ServiceError,
    UnknownModel,
)


@pytest.mark.parametrize("error_class", [ServiceError, Draining, Overloaded])
def test_error_without_detail_has_title_as_sentence(error_class):
    error = error_class(limit=3)
    assert error.detail == str(error) == f"{error.title}."
    assert (error.limit, error.actual) == (3, None)


def test_unknown_model_names_itself_and_alternatives():
    error = UnknownModel("ear\n", ["connectnet", "rcrnet"])
    assert error.detail == r"Unknown model 'ear\n'; available: connectnet, rcrnet."


def test_unknown_model_cuts_long_name():
    error = UnknownModel("x" * 10_000, ["connectnet"])
    assert error.detail.count("x") == MAX_ECHOED_CHARACTERS
