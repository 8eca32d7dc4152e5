"""Downloads of weights under their older name (torch.utils.model_zoo)."""

from typing import Any

from cupola import hub
from cupola.hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]


def __getattr__(name: str) -> Any:
    return getattr(hub, name)
