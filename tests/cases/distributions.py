"""Samples of distributions: densities, entropies, divergences, transforms."""

from cases import Case, F


def P(*shape):
    """Positive parameters."""
    return F(*shape, low=0.3, high=3.0)


def U(*shape):
    """Parameters and values inside the unit interval."""
    return F(*shape, low=0.1, high=0.9)


def _logp(name, *kinds, value=None):
    def function(m, *xs):
        made = getattr(m.distributions, name)(*xs[:-1])
        return made.log_prob(xs[-1]), made.mean * 1

    return Case(f"{name}.log_prob", function, (*kinds, value), tolerance=2e-5)


def _entropy(name, *kinds):
    def function(m, *xs):
        return getattr(m.distributions, name)(*xs).entropy()

    return Case(f"{name}.entropy", function, kinds, tolerance=2e-5)


def _kl(name, *kinds):
    n = len(kinds)

    def function(m, *xs):
        make = getattr(m.distributions, name)
        return m.distributions.kl_divergence(make(*xs[:n]), make(*xs[n:]))

    return Case(f"{name}.kl", function, (*kinds, *kinds), tolerance=2e-5)


def _spd(m, x):
    return x @ x.mT + m.eye(x.shape[-1])


def _multivariate(m, x, a, v):
    d = m.distributions.MultivariateNormal(x, _spd(m, a))
    return d.log_prob(v), d.entropy()


def _categorical(m, x):
    d = m.distributions.Categorical(logits=x)
    return d.log_prob(m.tensor([0, 2, 1])), d.entropy(), d.probs


def _transformed(m, x, y):
    t = m.distributions.transforms
    base = m.distributions.Normal(x, 1.0)
    d = m.distributions.TransformedDistribution(
        base, [t.AffineTransform(0.5, 2.0), t.TanhTransform()]
    )
    return d.log_prob(y * 0.9)


def _mixture(m, w, x, s, v):
    d = m.distributions
    mixed = d.MixtureSameFamily(d.Categorical(logits=w), d.Normal(x, s))
    return mixed.log_prob(v), mixed.mean, mixed.variance


def _seeded(m, x, s):
    d = m.distributions
    m.manual_seed(3)
    out = [d.Normal(x, s).rsample((2,)), d.Uniform(x, x + s).rsample(), d.Exponential(s).rsample()]
    out += [d.Laplace(x, s).rsample(), d.Bernoulli(logits=x).sample().float()]
    out += [d.Categorical(logits=x).sample((4,)).float(), d.LogNormal(x, s).rsample()]
    return out


def _stick(m, x):
    t = m.distributions.transforms.StickBreakingTransform()
    y = t(x)
    return y, t.inv(y), t.log_abs_det_jacobian(x, y)


CASES = [
    _logp("Normal", F(4), P(4), value=F(3, 4)),
    _logp("Uniform", F(4, low=-3, high=-2), P(4), value=F(3, 4, low=-1.9, high=0.2, grad=False)),
    _logp("Exponential", P(4), value=P(3, 4)),
    _logp("Laplace", F(4), P(4), value=F(3, 4)),
    Case(
        "Cauchy.log_prob",
        lambda m, x, s, v: m.distributions.Cauchy(x, s).log_prob(v),
        (F(4), P(4), F(3, 4)),
    ),
    _logp("Gumbel", F(4), P(4), value=F(3, 4)),
    _logp("Gamma", P(4), P(4), value=P(3, 4)),
    _logp("Beta", P(4), P(4), value=U(3, 4)),
    _logp("Chi2", P(4), value=P(3, 4)),
    _logp("LogNormal", F(4), P(4), value=P(3, 4)),
    _logp("HalfNormal", P(4), value=P(3, 4)),
    _logp("Weibull", P(4), P(4), value=P(3, 4)),
    Case(
        "StudentT.log_prob",
        lambda m, d, x, v: m.distributions.StudentT(d, x).log_prob(v),
        (P(4), F(4), F(3, 4)),
        tolerance=1e-4,
    ),
    Case(
        "Poisson.log_prob",
        lambda m, r: m.distributions.Poisson(r).log_prob(m.tensor([0.0, 1, 2, 5])),
        (P(4),),
    ),
    Case(
        "Bernoulli.log_prob",
        lambda m, x: m.distributions.Bernoulli(logits=x).log_prob(m.tensor([0.0, 1, 1])),
        (F(2, 3),),
    ),
    Case(
        "Geometric.log_prob",
        lambda m, p: m.distributions.Geometric(p).log_prob(m.tensor([0.0, 1, 3])),
        (U(3),),
    ),
    Case(
        "Binomial.log_prob",
        lambda m, p: m.distributions.Binomial(5, p).log_prob(m.tensor([0.0, 1, 3])),
        (U(3),),
        tolerance=1e-4,
    ),
    Case(
        "Dirichlet.log_prob",
        lambda m, a: m.distributions.Dirichlet(a).log_prob(m.tensor([0.2, 0.3, 0.5])),
        (P(2, 3),),
        tolerance=1e-4,
    ),
    Case("Categorical", _categorical, (F(3, 4),)),
    Case("MultivariateNormal", _multivariate, (F(3), F(3, 3), F(4, 3)), tolerance=1e-4),
    Case(
        "Independent",
        lambda m, x, s, v: m.distributions.Independent(m.distributions.Normal(x, s), 1).log_prob(v),
        (F(3, 4), P(3, 4), F(3, 4)),
    ),
    Case("TransformedDistribution", _transformed, (F(3, 4), F(3, 4, low=-0.9, high=0.9))),
    Case("MixtureSameFamily", _mixture, (F(4), F(4), P(4), F(5))),
    Case("StickBreakingTransform", _stick, (F(3, 4),), tolerance=1e-4),
    Case("distributions.seeded", _seeded, (F(3, 4), P(3, 4)), tolerance=1e-4),
    _entropy("Normal", F(4), P(4)),
    _entropy("Gamma", P(4), P(4)),
    _entropy("Beta", P(4), P(4)),
    _entropy("Laplace", F(4), P(4)),
    _entropy("Dirichlet", P(2, 3)),
    _kl("Normal", F(4), P(4)),
    _kl("Gamma", P(4), P(4)),
    _kl("Beta", P(4), P(4)),
    _kl("Exponential", P(4)),
    _kl("Laplace", F(4), P(4)),
    _kl("Poisson", P(4)),
    _kl("Bernoulli", U(4)),
    _kl("Dirichlet", P(2, 3)),
    Case(
        "MultivariateNormal.kl",
        lambda m, x, a: m.distributions.kl_divergence(
            m.distributions.MultivariateNormal(x, _spd(m, a)),
            m.distributions.MultivariateNormal(x * 0, m.eye(3)),
        ),
        (F(3), F(3, 3)),
        tolerance=1e-4,
    ),
]
