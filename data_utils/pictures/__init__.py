"""One picture's bytes into 8-bit RGB: PNG, JPEG and TIFF, read whole and without loss, or refused in words."""
