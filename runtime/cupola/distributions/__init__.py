"""Probability distributions (torch.distributions)."""

import functools
import sys
import types

from cupola.distributions import (
    circular,
    composed,
    constraints,
    continuous,
    counts,
    derived,
    discrete,
    distribution,
    gamma,
    kl,
    matrices,
    normal,
    transforms,
    utils,
)
from cupola.distributions.circular import VonMises
from cupola.distributions.composed import (
    HalfCauchy,
    HalfNormal,
    Independent,
    LogNormal,
    MixtureSameFamily,
    Pareto,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
    TransformedDistribution,
    Weibull,
)
from cupola.distributions.continuous import Cauchy, Exponential, Gumbel, Laplace, Uniform
from cupola.distributions.continuous_bernoulli import ContinuousBernoulli
from cupola.distributions.counts import NegativeBinomial
from cupola.distributions.derived import (
    FisherSnedecor,
    InverseGamma,
    Kumaraswamy,
    LogisticNormal,
)
from cupola.distributions.discrete import (
    Bernoulli,
    Binomial,
    Categorical,
    Geometric,
    Multinomial,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    Poisson,
)
from cupola.distributions.distribution import Distribution, ExponentialFamily
from cupola.distributions.gamma import Beta, Chi2, Dirichlet, Gamma, StudentT
from cupola.distributions.generalized_pareto import GeneralizedPareto

# These register further rules of divergences.
from cupola.distributions import kl_further, kl_mixed, kl_pairs  # isort: skip
from cupola.distributions.kl import kl_divergence, register_kl
from cupola.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from cupola.distributions.matrices import LKJCholesky, Wishart
from cupola.distributions.normal import MultivariateNormal, Normal
from cupola.distributions.transforms import *  # noqa: F403
from cupola.unsupported import lookup

from cupola.distributions import constraint_registry, transforms_joined  # isort: skip
from cupola.distributions.constraint_registry import biject_to, transform_to

# Their public place is the module of the others; they stand beside it because it is long.
for _name in (
    "CatTransform",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "PositiveDefiniteTransform",
    "StackTransform",
):
    globals()[_name] = getattr(transforms_joined, _name)
    setattr(transforms, _name, globals()[_name])
    transforms.__all__.append(_name)

# PyTorch has a module for each distribution; here one holds a family.
_MODULES = {
    composed: "half_cauchy half_normal independent log_normal mixture_same_family pareto "
    "relaxed_bernoulli relaxed_categorical transformed_distribution weibull",
    continuous: "cauchy exponential gumbel laplace uniform",
    discrete: "bernoulli binomial categorical geometric multinomial one_hot_categorical poisson",
    distribution: "exp_family",
    gamma: "beta chi2 dirichlet studentT",
    circular: "von_mises",
    counts: "negative_binomial",
    derived: "fishersnedecor inverse_gamma kumaraswamy logistic_normal",
    matrices: "lkj_cholesky wishart",
    normal: "multivariate_normal",
}


def _member(name: str, family: types.ModuleType) -> types.ModuleType:
    """A distribution's own module: what its family holds, and the names of PyTorch's module."""
    made = types.ModuleType(name, family.__doc__)
    helpers = {k: getattr(utils, k) for k in utils.__all__} | {"constraints": constraints}
    found = helpers | vars(family)
    made.__dict__.update({k: v for k, v in found.items() if k not in vars(made)})
    made.__getattr__ = functools.partial(lookup, name)  # type: ignore[method-assign]
    return made


for _module, _names in _MODULES.items():
    for _name in _names.split():
        _full = f"{__name__}.{_name}"
        globals()[_name] = sys.modules[_full] = _member(_full, _module)

__all__ = [
    "Wishart",
    "VonMises",
    "NegativeBinomial",
    "LogisticNormal",
    "LKJCholesky",
    "Kumaraswamy",
    "InverseGamma",
    "FisherSnedecor",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ContinuousBernoulli",
    "Dirichlet",
    "Distribution",
    "Exponential",
    "ExponentialFamily",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "Laplace",
    "LogNormal",
    "LowRankMultivariateNormal",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "StudentT",
    "TransformedDistribution",
    "Uniform",
    "Weibull",
    "biject_to",
    "constraint_registry",
    "constraints",
    "kl_divergence",
    "register_kl",
    "transform_to",
    "transforms",
    "utils",
]
__all__ += transforms.__all__
