"""Datasets are importable; reading one is not supported yet."""

from cupola_compat.torchvision._unsupported import module_getattr

__getattr__ = module_getattr(
    "datasets",
    "torchvision's datasets are not available; read the files with cupola.utils.data.Dataset",
)
