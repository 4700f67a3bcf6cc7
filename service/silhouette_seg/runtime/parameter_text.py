"""Text of the values of parameters, as the API parses it."""

from numbers import Real


def parameter_text(value: object) -> str:
    """Returns the text of a value: `true`, `1.5`, or the text itself.

    Fractions are rounded to nine digits, because the API accepts no more. Raises TypeError for a
    value that is neither text, a number nor a boolean.
    """
    match value:
        case bool():
            return str(value).lower()
        case str() | int():
            return str(value)
        case Real():
            digits = f"{float(value):.9f}"
            return digits.rstrip("0").rstrip(".") if "." in digits else digits
    raise TypeError(f"must be text, a number or a boolean, not {type(value).__name__}")
