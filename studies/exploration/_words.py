"""How the numbers of findings are written: rules look at them as they are printed."""


def counted(number: int, one: str, more: str = "") -> str:
    """As "1 patch" or "1,200 patches"."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def per_cent(share: float) -> float:
    """As it is printed."""
    return round(100 * share, 1)


def percent(share: float) -> str:
    """As "12.3 %"."""
    return f"{per_cent(share):.1f} %"
