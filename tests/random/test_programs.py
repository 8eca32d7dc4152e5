"""Random programs of draws: whatever the order of calls, both generators stay in step."""

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cupola import dtypes, random

sizes = st.one_of(st.integers(0, 40), st.sampled_from([623, 624, 625, 1000]))
floats = st.sampled_from(["float16", "bfloat16", "float32", "float64"])
SIMPLE = st.sampled_from(["rand", "randn", "exponential", "cauchy", "log_normal"])

steps = st.one_of(
    st.tuples(SIMPLE, floats, sizes),
    st.tuples(st.just("normal"), floats, sizes, st.floats(-5, 5), st.floats(0, 9)),
    st.tuples(st.just("uniform"), floats, sizes, st.floats(-5, 0), st.floats(0, 9)),
    st.tuples(st.just("randint"), sizes, st.integers(1, 2**62)),
    st.tuples(st.just("randperm"), sizes),
    st.tuples(st.just("bernoulli"), floats, sizes, st.floats(0, 1)),
    st.tuples(st.just("dropout"), floats, sizes, st.floats(0, 1)),
    st.tuples(st.just("geometric"), sizes, st.floats(0.01, 0.99)),
    st.tuples(st.just("poisson"), sizes, st.floats(0, 30)),
    st.tuples(st.just("gamma"), sizes, st.floats(0.1, 30)),
    st.tuples(st.just("binomial"), sizes, st.integers(0, 100), st.floats(0, 1)),
    st.tuples(st.just("multinomial"), st.integers(1, 20), st.booleans()),
    st.tuples(st.just("seed"), st.integers(-(2**63), 2**64 - 1)),
    st.tuples(st.just("state"), st.booleans()),
)

LIKE = {"log_normal": random.log_normal, "exponential": random.exponential, "cauchy": random.cauchy}


def run(step, ours):
    """One draw on both sides: torch's tensor and our array."""
    match step:
        case ("rand", name, n):
            return (
                torch.rand(n, dtype=getattr(torch, name)),
                random.uniform((n,), getattr(dtypes, name), generator=ours),
            )
        case ("randn", name, n):
            return (
                torch.randn(n, dtype=getattr(torch, name)),
                random.normal((n,), getattr(dtypes, name), generator=ours),
            )
        case (("exponential" | "cauchy" | "log_normal") as function, name, n):
            empty = torch.empty(n, dtype=getattr(torch, name))
            return (
                getattr(empty, function + "_")(),
                LIKE[function]((n,), getattr(dtypes, name), generator=ours),
            )
        case (("normal" | "uniform") as function, name, n, a, b):
            empty = torch.empty(n, dtype=getattr(torch, name))
            return (
                getattr(empty, function + "_")(a, b),
                getattr(random, function)((n,), getattr(dtypes, name), a, b, generator=ours),
            )
        case ("randint", n, high):
            return torch.randint(high, (n,)), random.randint((n,), 0, high, generator=ours)
        case ("randperm", n):
            return torch.randperm(n), random.randperm(n, generator=ours)
        case ("bernoulli", name, n, p):
            return (
                torch.empty(n, dtype=getattr(torch, name)).bernoulli_(p),
                random.bernoulli((n,), p, getattr(dtypes, name), generator=ours),
            )
        case ("dropout", name, n, p):
            noise = random.dropout_noise((n,), getattr(dtypes, name), p, generator=ours)
            if n == 0:
                noise = noise[:0]
            return F.dropout(torch.ones(n, dtype=getattr(torch, name)), p), noise
        case ("geometric", n, p):
            return torch.empty(n).geometric_(p), random.geometric((n,), p=p, generator=ours)
        case ("poisson", n, rate):
            rates = torch.full((n,), rate)
            return torch.poisson(rates), random.poisson(rates.numpy(), generator=ours)
        case ("gamma", n, alpha):
            alphas = torch.full((n,), alpha, dtype=torch.float64)
            return (
                torch._standard_gamma(alphas),
                random.standard_gamma(alphas.numpy(), generator=ours),
            )
        case ("binomial", n, count, p):
            counts, probs = torch.full((n,), float(count)), torch.full((n,), p)
            return (
                torch.binomial(counts, probs),
                random.binomial(counts.numpy(), probs.numpy(), generator=ours),
            )
        case ("multinomial", n, replacement):
            weights = torch.linspace(0.1, 1, n)
            return (
                torch.multinomial(weights, n, replacement),
                random.multinomial(weights.numpy(), n, replacement, generator=ours),
            )
    raise AssertionError(step)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 2**64 - 1), st.lists(steps, max_size=12))
def test_programs(twin, seed, program):
    twin.seed(seed)
    for step in program:
        match step:
            case ("seed", value):
                twin.seed(value)
            case ("state", True):  # a state of torch's, restored on both sides
                state = twin.torch.get_state()
                torch.rand(3)
                twin.torch.set_state(state)
                twin.ours.set_state(state.numpy())
            case ("state", False):  # one of ours
                state = twin.ours.get_state()
                random.uniform((3,), generator=twin.ours)
                twin.ours.set_state(state)
                twin.torch.set_state(torch.from_numpy(np.array(state)))
            case _:
                expected, got = run(step, twin.ours)
                twin.agree(expected, got, tolerance=2)
