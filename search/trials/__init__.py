"""One launch in the driver: what is refused, what is tried next, what is written down, when it ends."""
