"""Random numbers equal to torch's on the CPU, as NumPy arrays (docs/random.md).

Every function takes a shape or arrays, draws from ``generator`` (the default one for None) and
returns a new array. ``strides``, in elements, are those of the tensor that is filled: torch draws
in the order of memory.
"""

from .bernoulli import alpha_dropout_noise, bernoulli, dropout_noise, feature_shape
from .generator import (
    CPUGenerator,
    default_generator,
    fork_rng,
    initial_seed,
    manual_seed,
    seed,
)
from .integers import randint, random, randperm
from .inversion import cauchy, exponential, geometric
from .layout import like_strides
from .multinomial import multinomial
from .normal import log_normal, normal, normal_like
from .rejection import binomial, dirichlet, poisson, standard_gamma
from .truncated import trunc_normal
from .uniform import uniform

__all__ = [
    "CPUGenerator",
    "alpha_dropout_noise",
    "bernoulli",
    "binomial",
    "cauchy",
    "default_generator",
    "dirichlet",
    "dropout_noise",
    "exponential",
    "feature_shape",
    "fork_rng",
    "geometric",
    "initial_seed",
    "like_strides",
    "log_normal",
    "manual_seed",
    "multinomial",
    "normal",
    "normal_like",
    "poisson",
    "randint",
    "random",
    "randperm",
    "seed",
    "standard_gamma",
    "trunc_normal",
    "uniform",
]
