"""Drawing helpers are importable; calling one is not supported yet."""

from cupola_compat.torchvision._unsupported import module_getattr

__getattr__ = module_getattr("utils", "draw with Pillow on to_pil_image(tensor)")
