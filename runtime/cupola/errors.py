"""Errors that are cupola's own; everything else raises the type that PyTorch raises."""


class UnsupportedError(NotImplementedError):
    """Raised when a name that PyTorch has and cupola does not support is called.

    Attributes:
        name: the public name, such as ``cupola.sparse_coo_tensor``.
        reason: why it is not supported and what to use instead.
    """

    def __init__(self, name: str, reason: str = "") -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name} is not supported by cupola" + (f": {reason}" if reason else ""))


class GraphError(AssertionError):
    """Raised by the verifier when a pass has produced a malformed program: a defect of cupola."""


class BackendError(RuntimeError):
    """Raised when a device was asked for that this machine or installation cannot provide."""


class OutOfMemoryError(RuntimeError, MemoryError):
    """There is not enough memory (torch.OutOfMemoryError); the text names what holds it."""


class LinAlgError(RuntimeError):
    """Raised when a factorization cannot be completed (torch.linalg.LinAlgError)."""
