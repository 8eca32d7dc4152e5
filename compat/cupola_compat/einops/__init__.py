"""Parts of einops that import torch."""
