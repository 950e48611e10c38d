"""Seeds that follow from what they are for, so that no run depends on which worker did it or when."""

import hashlib


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2^32) that is the same for the same parts and unlike any other's."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
