"""Every file of the laws' room: formula and design agree, derivatives are right, inversion inverts."""

import math

import numpy as np
import pytest

from sparsity_lab import registry
from sparsity_lab.laws._law import FALLING, Span

LAWS = [registry.load("laws", name).LAW for name in registry.names("laws")]


def points(law):
    """Inputs in the law's usual range, one column an input."""
    generator = np.random.default_rng(5)
    usual = [variable.studied for variable in law.inputs]
    one = np.sort(np.exp(generator.uniform(math.log(usual[0][0]), math.log(usual[0][1]), size=25)))
    if len(law.inputs) == 1:
        return one
    if len(set(usual)) == 1:
        return np.stack([one * generator.uniform(0.5, 2, size=25) ** i for i in range(len(usual))], axis=1)
    return np.exp(np.stack([generator.uniform(*np.log(ends), size=25) for ends in usual], axis=1))


def drawn(law, generator):
    """A random place in the middle of the search box, with positive linear coefficients; numbers as they are."""
    box = law.search_box(Span.of(points(law)))
    theta = box[:, 0] + generator.uniform(0.35, 0.65, size=len(box)) * (box[:, 1] - box[:, 0])
    linear = generator.uniform(0.1, 0.5, size=len(law.linear_lower))
    for column, weight in law.offset_columns:
        linear[column] = weight
    return theta, linear


@pytest.fixture(params=LAWS, ids=[law.name for law in LAWS])
def law(request):
    return request.param


@pytest.fixture(params=range(5))
def generator(request):
    return np.random.default_rng(request.param)


def test_the_file_name_is_the_id(law):
    assert registry.load("laws", law.name).LAW is law


def test_it_says_what_it_is(law):
    assert law.formula
    assert law.latex
    assert law.source
    assert all(v.unit and v.meaning for v in (*law.inputs, law.output))
    assert all(p.unit and p.meaning and p.box[0] < p.box[1] for p in law.parameters)
    assert (law.asymptote is None) == (law.asymptote_column is None)


def test_the_formula_is_the_design_times_the_linear_coefficients(law, generator):
    x = points(law)
    span, (theta, linear) = Span.of(x), drawn(law, generator)
    by_formula = law.predict(law.assemble(theta, linear, span), x)
    np.testing.assert_allclose(by_formula, law.design(theta, x, span) @ linear, rtol=1e-9)


def test_locate_is_the_inverse_of_assemble(law, generator):
    span, (theta, linear) = Span.of(points(law)), drawn(law, generator)
    np.testing.assert_allclose(
        law.locate(law.assemble(theta, linear, span), span), theta, rtol=1e-9, atol=1e-9
    )


def test_the_design_gradient_is_the_derivative(law, generator):
    x = points(law)
    span, (theta, _) = Span.of(x), drawn(law, generator)
    gradient = law.design_gradient(theta, x, span)
    assert gradient.shape == (len(theta), len(x), len(law.linear_lower))
    for i in range(len(theta)):
        step = 1e-6 * np.eye(len(theta))[i]
        numeric = (law.design(theta + step, x, span) - law.design(theta - step, x, span)) / 2e-6
        np.testing.assert_allclose(gradient[i], numeric, rtol=1e-5, atol=1e-8)


def test_the_slope_is_the_derivative_by_the_first_input(law, generator):
    x = points(law)
    coefficients = law.assemble(*drawn(law, generator), Span.of(x))
    first = x if x.ndim == 1 else x[:, 0]
    step = np.zeros_like(x)
    (step if x.ndim == 1 else step[:, 0])[:] = 1e-6 * first
    numeric = (law.predict(coefficients, x + step) - law.predict(coefficients, x - step)) / (2e-6 * first)
    np.testing.assert_allclose(law.slope(coefficients, x), numeric, rtol=1e-4, atol=1e-9)


def test_inversion_inverts(law, generator):
    if len(law.inputs) > 1 or law.name == "constant":
        pytest.skip("one value belongs to a whole curve of inputs")
    x = points(law)
    coefficients = law.assemble(*drawn(law, generator), Span.of(x))
    values = law.predict(coefficients, x)
    checked = 0
    for place, value in zip(x, values, strict=True):
        if abs(law.slope(coefficients, np.array([place]))[0] * place) > 1e-6:
            assert law.invert(coefficients, float(value)) == pytest.approx(place, rel=1e-4)
            checked += 1
    assert checked


def test_the_limit_is_approached(law, generator):
    if law.asymptote is None or len(law.inputs) > 1:
        pytest.skip("no limit of its own")
    coefficients = law.assemble(*drawn(law, generator), Span.of(points(law)))
    if math.isnan(law.limit(coefficients)):
        pytest.skip("it has one at the other end alone")
    far = law.predict(coefficients, (-1.0 if law.forward == FALLING else 1.0) * np.array([1e6, 1e12, 1e60]))
    assert far[-1] == pytest.approx(law.limit(coefficients), rel=1e-3)


def test_an_unknown_law_is_told_with_the_nearest():
    from sparsity_lab.errors import SparsityLabError

    with pytest.raises(SparsityLabError, match="Did you mean 'power'"):
        registry.load("laws", "powr")
