"""What patches of a made-up comparison look like: pictures, measures, and scores under small changes."""

from pathlib import Path

import numpy as np
from PIL import Image

from studies.records import Disturbed, Predictions


def measured(rows: Predictions) -> np.ndarray:
    """(N, 5) as ``findings.measured`` has them; of a generator of its own, so that the rest stays as it was."""
    others = np.random.default_rng(7).normal((0.3, 8.0), (0.05, 0.6), (len(rows.labels), 2))
    return np.stack([rows.brightness, others[:, 0], rows.haematoxylin, rows.eosin, others[:, 1]], axis=1)


def disturbed(rows: Predictions, model: str) -> Disturbed:
    """Two changes, of which the second tells."""
    logits = rows.logits[model][:200]
    noise = np.random.default_rng(7).normal(size=(2, len(logits)))
    changed = np.stack([logits, logits + 0.05 * noise[0], 0.4 * logits + 1.5 * noise[1]])
    return Disturbed(("shifted by 1 pixel", "eosin + 20 %"), changed, rows.labels[:200], rows.patients[:200], 2.5)


def picture(rng: np.random.Generator, path: Path) -> Path:
    """Pink and violet blobs, so that pages with pictures look as they would."""
    pixels = np.full((50, 50, 3), (236, 205, 224), dtype=float) + rng.normal(0, 6, (50, 50, 3))
    rows, columns = np.mgrid[0:50, 0:50]
    for _ in range(int(rng.integers(8, 30))):
        y, x, r = rng.uniform(0, 50), rng.uniform(0, 50), rng.uniform(2, 5)
        pixels[(rows - y) ** 2 + (columns - x) ** 2 < r * r] = rng.normal((112, 72, 146), 12)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return path
