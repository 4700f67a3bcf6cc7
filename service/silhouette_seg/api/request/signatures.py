"""Shows the parameters of a photo in the signature and the docstring of a Python function."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, ForwardRef, TypeVar

from silhouette_seg.api.request.parameter_table import PHOTO_PARAMETERS, describe_parameters

F = TypeVar("F", bound=Callable[..., object])
HEADING = "Options, of which None leaves one out:"


def with_options(types: Mapping[str, Any], *, without: Collection[str] = ()) -> Callable[[F], F]:
    """Returns a decorator that shows parameters of the API instead of `**options`.

    `types` has the annotation of each by its name, and `without` those that are not shown. The
    function itself is unchanged; `help` and `inspect` show them.
    """
    names = [name for name in PHOTO_PARAMETERS if name in types and name not in without]

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        named = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        options = [_option(name, types[name]) for name in names]
        shown = signature.replace(parameters=[*named, *options])
        function.__signature__ = shown  # type: ignore[attr-defined]  # read by inspect
        text = inspect.cleandoc(function.__doc__ or "")
        function.__doc__ = f"{text}\n\n{HEADING}\n\n{describe_parameters(names)}"
        return function

    return decorate


def _option(name: str, annotation: object) -> inspect.Parameter:
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=PHOTO_PARAMETERS[name].schema.get("default"),
        annotation=annotation,
    )
