"""Downloads of weights under their older name (torch.utils.model_zoo)."""

from cupola.hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]
