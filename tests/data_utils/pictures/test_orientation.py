"""Pictures that are stored turned or mirrored are read as Pillow shows them, whatever says so."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from data_utils.pictures.picture import read_picture
from data_utils.readers.patches import read_patches

PATCH = read_patches("synthetic:60").pixels[0]


def stored(form: str, orientation: int) -> bytes:
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    more: dict[str, object] = {"tiffinfo": {0x0112: orientation}} if form == "TIFF" else {"exif": exif}
    Image.fromarray(PATCH).save(content, form, **more)
    return content.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_read_as_it_is_to_be_seen(form: str, orientation: int) -> None:
    content = stored(form, orientation)
    found = read_picture(content, len(content), 50)
    assert isinstance(found, tuple)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(found[0], np.asarray(shown))
    assert ("turned" in found[1].split("+")) == (orientation > 1)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_an_orientation_that_means_nothing_turns_nothing(form: str) -> None:
    content = stored(form, 9)
    found = read_picture(content, len(content), 50)
    assert isinstance(found, tuple)
    assert "turned" not in found[1]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_damaged_exif_block_turns_nothing(form: str) -> None:
    whole = io.BytesIO()
    Image.fromarray(PATCH).save(whole, form, exif=b"Exif\0\0MM\0*\0\0\xff\xff")
    found = read_picture(whole.getvalue(), len(whole.getvalue()), 50)
    assert isinstance(found, tuple)
    assert "turned" not in found[1]
