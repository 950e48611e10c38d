"""Numbers in sentences and tables: three decimals, or as many as show that a number is not 0."""

from math import floor, log10

DECIMALS = 3
_ROUNDING = 1e-12


def decimal(value: float, *, signed: bool = False) -> str:
    """The number with a true minus; what is 0 up to rounding has no minus."""
    if abs(value) < _ROUNDING:
        value = 0.0
    places = DECIMALS if value == 0.0 else max(DECIMALS, -floor(log10(abs(value))))
    return f"{value:{'+' if signed else ''}.{places}f}".replace("-", "−")
