"""Signal processing (torch.signal)."""

from cupola.signal import windows

__all__ = ["windows"]
