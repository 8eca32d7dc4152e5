"""Downloads of weights under their older name (torch.utils.model_zoo)."""

from cupola.hub import load_state_dict_from_url as load_url
from cupola.hub import tqdm

__all__ = ["load_url", "tqdm"]
