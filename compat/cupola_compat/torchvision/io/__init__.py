"""Image files, read and written by Pillow."""

from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.io.image import (
    ImageReadMode,
    decode_image,
    decode_jpeg,
    decode_png,
    decode_webp,
    encode_jpeg,
    encode_png,
    read_file,
    read_image,
    write_file,
    write_jpeg,
    write_png,
)

__all__ = [
    "ImageReadMode",
    "decode_image",
    "decode_jpeg",
    "decode_png",
    "decode_webp",
    "encode_jpeg",
    "encode_png",
    "read_file",
    "read_image",
    "write_file",
    "write_jpeg",
    "write_png",
]

__getattr__ = module_getattr("io", "only files of images are read, by Pillow")
