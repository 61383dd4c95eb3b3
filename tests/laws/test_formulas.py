"""Laws from formulas: what is found in their structure, what may be said of them, and that their numbers are right."""

import math
import pickle

import numpy as np
import pytest

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.laws_by_name import LawWords, load_law
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.solved import solve_and_judge
from sparsity_lab.laws._law import LOG_LINEAR, Span
from tests.fitting.points import series_of

ONE = np.geomspace(0.8, 250, 25)
TWO = np.stack([np.geomspace(1e8, 1e10, 25), np.geomspace(1e9, 1e12, 25)[::-1]], axis=1)
TYPED = [name for name in registry.names("laws") if registry.load("laws", name).LAW.typed]
CHINCHILLA = "E + a*N^-al + b*D^-be; inputs N, D"
FORMULAS = [
    "A0 - c*x^-alpha",
    "A0 + exp(b - c*x^alpha)",
    "A0 + a*exp(-(x/tau)^beta)",
    "b1/(1 + exp(b2 - b3*x)); b2=0:10",
    "A0 - h/(1 + (x/m)^g)",
    "d + c/(1 + exp(-gamma*(x - l)))",
    "a + b*x^al; al=-2:2",
    "a + b*log(x + k)",
    "a - b*2^(-x/h) + 0.5*x",
    CHINCHILLA,
    CHINCHILLA + "; E=1.69; be=al; a>=0; b<=9",
    "E + exp(a - al*log(N)) + exp(b - be*log(D)); inputs N, D; al=0.1:1; be=0.1:1",
    "E + (Nc/N)^al; inputs N, D; D=1",
]


def law_of(text):
    return load_law(text.replace("; inputs N, D; D=1", "; inputs N"))


def points(law):
    if len(law.inputs) < 3:
        return ONE if len(law.inputs) == 1 else TWO
    generator = np.random.default_rng(0)
    return np.stack(
        [np.geomspace(*each.studied, 25)[generator.permutation(25)] for each in law.inputs], axis=1
    )


def places(law, count=7, seed=0):
    """Random places in the middle of the search box, shape (count, q)."""
    box = law.search_box(Span.of(points(law)))
    shares = np.random.default_rng(seed).uniform(0.35, 0.65, size=(count, len(box)))
    return box[:, 0] + shares * (box[:, 1] - box[:, 0])


@pytest.fixture(params=FORMULAS)
def law(request):
    return law_of(request.param)


def test_the_formula_is_the_design_times_the_linear_coefficients(law):
    x, theta = points(law), places(law)
    span = Span.of(x)
    design = law.design(theta, x, span)
    linear = np.random.default_rng(1).uniform(0.1, 0.5, size=(len(theta), design.shape[-1]))
    for column, value in law.offset_columns:
        linear[:, column] = value
    values = law.assemble(theta, linear, span)
    curve = law.predict({name: value[:, None] for name, value in values.items()}, x)
    np.testing.assert_allclose(curve, np.einsum("kij,kj->ki", design, linear), rtol=1e-9)
    assert set(values) == {parameter.name for parameter in law.parameters}
    np.testing.assert_allclose(law.locate(values, span), theta, rtol=1e-8, atol=1e-8)


def test_many_places_at_once_are_as_one_by_one(law):
    x, theta = points(law), places(law)
    span = Span.of(x)
    for method in (law.design, law.design_gradient):
        at_once = method(theta, x, span)
        np.testing.assert_array_equal(at_once, np.stack([method(place, x, span) for place in theta]))


def test_the_gradient_is_the_derivative_of_the_design(law):
    x = points(law)
    span = Span.of(x)
    for theta in places(law, count=3):
        exact = law.design_gradient(theta, x, span)
        assert exact.shape == (len(theta), len(x), len(law.linear_lower))
        for i, step in enumerate(1e-6 * np.eye(len(theta))):
            numeric = (law.design(theta + step, x, span) - law.design(theta - step, x, span)) / 2e-6
            np.testing.assert_allclose(exact[i], numeric, rtol=1e-5, atol=1e-7 * np.abs(numeric).max())


def test_the_name_alone_makes_the_law_again(law):
    again = load_law(law.name)
    assert (again.name, again.note) == (law.name, "")
    theta, x = places(law), points(law)
    np.testing.assert_array_equal(again.design(theta, x, Span.of(x)), law.design(theta, x, Span.of(x)))
    assert pickle.loads(pickle.dumps(law)).name == law.name


@pytest.mark.parametrize("name", TYPED)
def test_a_law_that_is_typed_has_the_curve_that_it_has_by_name(name):
    named = registry.load("laws", name).LAW
    inputs = "" if len(named.inputs) == 1 else f"; inputs {', '.join(v.symbol for v in named.inputs)}"
    typed, x = load_law(named.typed + inputs), points(named)
    values = {parameter.name: 0.3 + 0.1 * i for i, parameter in enumerate(named.parameters)}
    assert {p.name for p in typed.parameters} == set(values)
    np.testing.assert_allclose(typed.predict(values, x), named.predict(values, x), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(typed.slope(values, x), named.slope(values, x), rtol=1e-12, atol=1e-15)
    assert typed.positive_inputs == named.positive_inputs
    assert {p.name: p.kind for p in typed.parameters} == {p.name: p.kind for p in named.parameters}


@pytest.mark.parametrize(
    ("text", "asymptote", "exponents", "limits"),
    [
        ("A0 - c*x^-alpha", "A0", ["alpha"], {"A0": (1, 0)}),
        ("A0 + exp(b - c*x^alpha)", "A0", ["alpha"], {"A0": (1, 0)}),
        ("a + s*log(x)", None, [], {}),
        ("m + k*x", None, [], {}),
        ("b1*(1 - exp(-b2*x))", "b1", [], {"b1": (1,)}),
        ("a + b*(1 - exp(-c*x))", None, [], {"a + b": (1, 1)}),
        ("a*x/(x + m)", "a", [], {"a": (1,)}),
        ("a + b*x^al", None, [], {}),
        ("a + b*x^al; al=-3:-0.1", "a", [], {"a": (1, 0)}),
        ("exp(e0) + exp(a0)*x^-al", None, ["al"], {"exp(e0)": (0, 1)}),
        ("2*E + a*x^-al", None, ["al"], {"2*E": (2, 0)}),
        ("a*x^-p - b*x^-q + A0", "A0", ["p", "q"], {"A0": (1, 0, 0)}),
        (CHINCHILLA, "E", ["al", "be"], {"E": (1, 0, 0)}),
        (
            "exp(a - al*log(N)) + exp(b - be*log(D)) + exp(c); inputs N, D",
            None,
            ["al", "be"],
            {"exp(c)": (0, 0, 1)},
        ),
        ("E + exp(2*al*log(N)/3 - b)*exp(-D); inputs N, D", "E", [], {"E": (1, 0)}),
        ("E - c*exp(-al*log(x))", "E", ["al"], {"E": (1, 0)}),
        ("E + exp(-log(x)^2)", "E", [], {"E": (1, 0)}),
        (CHINCHILLA + "; E=1.69", None, ["al", "be"], {}),
        (CHINCHILLA + "; be=al", "E", ["al"], {"E": (1, 0, 0)}),
        ("E + a/N + b*log(D); inputs N, D", None, [], {}),
        ("E + a/N + b*log(D); inputs N, D; asymptote E", "E", [], {"E": (1, 0, 0)}),
    ],
)
def test_limit_and_exponents_are_found_in_the_formula(text, asymptote, exponents, limits):
    law = load_law(text)
    assert law.asymptote == asymptote
    assert list(law.exponents) == exponents
    assert dict(law.limits) == limits
    if asymptote is not None:
        assert law.linear[law.asymptote_column] == asymptote
        assert law.parameter(asymptote).like_output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a + b*k^x", "no role is known for k, searched from 0.001 to 1000"),
        (
            "log(exp(a - al*log(x)) + exp(c))",
            "fit exp(y) by what is within the outer logarithm, with --log-y",
        ),
        ("exp(a - al*log(x)) + exp(e)", "e is the number 2.71828"),
    ],
)
def test_what_nothing_is_known_of_is_said_with_the_law(text, told):
    assert told in load_law(text).note
    assert told not in load_law("A0 - c*x^-alpha").note


def test_both_ends_of_a_score_are_limits():
    law = load_law("loss-to-score")
    assert law.limits == (("d", (1.0, 0.0)), ("c + d", (1.0, 1.0)))
    values = {"gamma": -3.0, "l": 2.0, "c": 0.5, "d": 0.25}
    far, near = law.predict(values, np.array([50.0, -50.0]))
    assert (far, near) == pytest.approx((0.25, 0.75))


@pytest.mark.parametrize(
    ("text", "positive"),
    [("a + b*x", ()), ("a + b*x^2", ()), ("a/x", (0,)), ("a*sqrt(x)", (0,)), ("a*exp(-c*x)", ()),
     ("a*N + b*log(D); inputs N, D", (1,)), ("width-depth", ()), ("loss-to-score", ()), ("sigmoid", (0,)),
     ("densing", ()), ("linear", ()), ("constant", ()), ("loss-power", (0, 1)), ("logarithmic", (0,))],
)  # fmt: skip
def test_laws_say_which_inputs_must_be_positive(text, positive):
    assert load_law(text).positive_inputs == positive


@pytest.mark.parametrize(
    ("text", "limits", "far_end"),
    [
        ("d + c/(1 + exp(-g*(x - l)))", ["c + d", "d"], "d"),
        ("d + c/(1 + exp(-g*(x - l))); g<=0", ["d", "c + d"], "c + d"),
        ("a - b*x^2", [], None),
        ("a - b*exp(-c*x)", ["a"], None),
        ("a + b*tanh(c*x)", ["a + b", "a - b"], "a - b"),
        ("a + b/(x + m)", ["a"], "a"),
        ("a + b*x^-al", ["a"], None),
        ("a*x^al + b; asymptote b; al=0.1:2", ["b"], "b"),
    ],
)
def test_inputs_that_go_down_have_their_far_end_there(text, limits, far_end):
    law = load_law(f"{text}; forward falling")
    assert ([name for name, _ in law.limits], law.far_end) == (limits, far_end)
    assert load_law(law.name).name == law.name
    assert "forward falling" in law.name


def test_a_logarithm_of_a_weight_is_solved_with_the_linear_coefficients():
    law = load_law("A0 + exp(b - c*x^alpha)")
    assert law.nonlinear == ("alpha", "c")
    assert law.parameter("b").kind == LOG_LINEAR
    assert dict(zip(law.linear, law.linear_lower, strict=True))["b"] == 0.0


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9, 1e15])
@pytest.mark.parametrize("text", ["A0 - c*x^-alpha", "A0 + exp(b - c*x^alpha)", "A0 + a*exp(-(x/tau)^beta)"])
def test_the_ranges_that_are_found_fit_any_unit_of_x(text, unit):
    y = 0.1 + 0.3 * np.exp(-0.4 * ONE**0.5) + 1e-3 * np.random.default_rng(2).standard_normal(len(ONE))
    law = load_law(text)
    sizes = [engine.solve(Problem.of(law, scale * ONE, y)).sse for scale in (1.0, unit)]
    assert sizes[1] == pytest.approx(sizes[0], rel=1e-9)


def test_a_rate_and_a_place_are_searched_over_the_data():
    y = 1.0 / (1.0 + np.exp(-0.05 * (ONE - 90.0)))
    law = load_law("d + c/(1 + exp(-gamma*(x - l)))")
    problem = Problem.of(law, 1e6 * ONE, y)
    values = problem.coefficients(engine.solve(problem).theta)
    assert (values["l"], values["gamma"]) == pytest.approx((9e7, 5e-8), rel=1e-5)


@pytest.mark.parametrize(("bound", "value"), [("b<=1", 1.0), ("b>=3", 3.0), ("b>=1; a<=9", 2.0)])
def test_bounds_of_linear_coefficients_hold(bound, value):
    law = load_law(f"a + b*x; {bound}")
    problem = Problem.of(law, ONE, 1.0 + 2.0 * ONE)
    assert problem.coefficients(np.empty(0))["b"] == pytest.approx(value)
    assert math.isinf(law.parameter("b").box[0]) == ("b>=" not in bound)


@pytest.mark.parametrize(
    ("bound", "edges"),
    [("al>=0.2", (0.2, 10.0)), ("al<=1", (0.01, 1.0)), ("al>=0.2; al<=0.7", (0.2, 0.7)),
     ("al=0.1:5; al<=2", (0.1, 2.0))],
)  # fmt: skip
def test_bounds_of_nonlinear_coefficients_cut_their_range(bound, edges):
    assert np.exp(load_law(f"a - b*x^-al; {bound}").search_box(Span.of(ONE))[0]) == pytest.approx(edges)


def test_fixed_and_tied_coefficients_are_no_coefficients():
    law = load_law(CHINCHILLA + "; E=1.69; be=al")
    assert [parameter.name for parameter in law.parameters] == ["al", "a", "b"]
    values = {"al": 0.3, "a": 400.0, "b": 2000.0}
    expected = 1.69 + 400 * TWO[:, 0] ** -0.3 + 2000 * TWO[:, 1] ** -0.3
    np.testing.assert_allclose(law.predict(values, TWO), expected, rtol=1e-12)
    assert law.limit(values) == 1.69
    problem = Problem.of(law, TWO, expected)
    solved = problem.coefficients(engine.solve(problem).theta)
    assert solved == pytest.approx(values, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "factor"),
    [("exp(-b - c*x^al)", -1.0), ("exp(2*b - c*x^al)", 0.5), ("10^(b - c*log10(e)*x^al)", 1 / math.log(10))],
)
def test_a_logarithm_of_a_weight_has_the_interval_of_the_weight(text, factor):
    y = 0.06 + np.exp(-2.0 - 0.3 * ONE**0.5) + 1e-3 * np.sin(7 * np.arange(len(ONE)))
    plain, other = (
        solve_and_judge(series_of(law, ONE, y), law, comparison=None).profiles["b"]
        for law in (load_law("A0 + exp(b - c*x^al)"), load_law(f"A0 + {text}"))
    )
    assert other.value == pytest.approx(factor * plain.value, rel=1e-4)
    assert plain.closed
    assert (other.low, other.high) == pytest.approx(
        sorted((factor * plain.low, factor * plain.high)), rel=1e-4
    )


def test_powers_of_ten_and_their_logarithms_are_those_of_e():
    law = load_law("10^(d + a*log10(N) + b*log2(D)); inputs N, D; a=-1:1; b=-1:1")
    kinds = {parameter.name: parameter.kind for parameter in law.parameters}
    assert kinds["d"] == "log-linear"
    values, x = (
        {"d": 1.1, "a": -0.1, "b": -0.05},
        np.array([[1e7, 1e9], [1e9, 1e10], [1e8, 1e12], [3e8, 4e9]]),
    )
    y = 10 ** (1.1 - 0.1 * np.log10(x[:, 0]) - 0.05 * np.log2(x[:, 1]))
    np.testing.assert_allclose(law.predict(values, x), y)
    problem = Problem.of(law, x, y)
    assert problem.coefficients(engine.solve(problem).theta) == pytest.approx(values, rel=1e-6)


def test_a_law_by_name_with_a_range_is_that_law():
    law, named = load_law("power; alpha=0.2:0.4"), load_law("power")
    assert (type(law), law.name) == (type(named), "power; alpha=0.2:0.4")
    np.testing.assert_allclose(np.exp(law.search_box(Span.of(ONE))), [[0.2, 0.4]])
    y = 0.4 - 0.1 * ONE**-0.9
    problem = Problem.of(pickle.loads(pickle.dumps(law)), ONE, y)
    assert problem.coefficients(engine.solve(problem).theta)["alpha"] == pytest.approx(0.4)
    assert np.exp(named.search_box(Span.of(ONE))[0, 1]) == pytest.approx(10)
    assert load_law(law.name).name == law.name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("power; c=1:2", 'Type its formula: --law "A0 - c*x^-alpha"'),
        ("power; A0=0.4", 'Type its formula: --law "A0 - c*x^-alpha"'),
        ("loss-power; beta=alpha", "--inputs N=COLUMN,D=COLUMN"),
        ("power; alpha=-1:2", "above zero"),
        ("A0 - c*D^-a", "has no input x"),
        (CHINCHILLA.replace("N, D", "N, exp"), "cannot be called 'exp'"),
        ("a + b*x; c=1", "no coefficient c"),
        ("a + b*x; b=1; b>=0", "no coefficient b left"),
        ("a + b*x; b=a; a=b", "fixed or tied twice"),
        ("a + b*x; b>=0; b<=1", "--range b=0.0:1.0"),
        ("a + b*x^-al; asymptote al", "cannot be its asymptote"),
        ("a + b*x; a<=1; asymptote a", "upper bound"),
        ("a + exp(-c*x); c>=2", "--bound c=LOW:HIGH"),
        (
            "a + p*x^q*sin(r*x)*cos(s*x)*exp(t*x + u*x^2)*tanh(v*x)*arctan(w*x)*log(y + x)*sqrt(z + x)",
            "At most 8 are searched",
        ),
        (
            "log(exp(a - al*log(N)) + exp(b - be*log(D)) + exp(c + d*N) + exp(f*D) + exp(g*N + h*D)); inputs N, D",
            "with --log-y",
        ),
        ("exp*x", "without brackets"),
        ("a*x + 'b'", "holds"),
        ("a*x + 1e999", "holds"),
        ("+".join(["x"] * 300), "too long"),
        ("a + b*x; a", "not a range of a coefficient"),
        ("a + b*x^q; q=1:2; q=1:3", "Two things are said"),
        ("a + b*x^-q; forward up", "--forward 'up' is no way"),
        ("a + b*x^-q; output 1:0", "--y-range '1:0' is no range"),
        ("power; forward falling", "the range of an exponent"),
    ],
)
def test_what_cannot_be_said_of_a_law_is_refused(text, told):
    with pytest.raises(SparsityLabError) as raised:
        load_law(text)
    assert told in str(raised.value)


def test_words_of_a_command_line_are_the_text_of_a_law():
    words = LawWords(
        ("N", "D"), ("al=.1:1",), ("E=1.69",), ("be=al",), ("a=0:", "b=:9"), None, "falling", "0:"
    )
    assert words.text("E + a*N^-al + b*D^-be") == (
        "E + a*N^-al + b*D^-be; inputs N, D; al=0.1:1.0; E=1.69; be=al; a>=0.0; b<=9.0; forward falling; output 0.0:"
    )
    for wrong in (
        LawWords(ranges=("al",)), LawWords(fixed=("E=x",)), LawWords(ties=("a=1",)), LawWords(bounds=("a=1",)),
        LawWords(bounds=("a=2:1",)), LawWords(forward="up"), LawWords(output="1:0"),
    ):  # fmt: skip
        with pytest.raises(SparsityLabError, match="--"):
            wrong.text("E + a*x")
    with pytest.raises(SparsityLabError, match="auto"):
        LawWords(ranges=("al=1:2",)).text("auto")
