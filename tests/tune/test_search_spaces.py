"""Spaces: what is drawn is within bounds, grids are gone through, and what is wrong is said at once."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal import tune
from shoal.errors import ConfigError
from shoal.tune.search.basic_variant import BasicVariantGenerator
from shoal.tune.search.search_algorithm import DONE
from shoal.tune.search.variant_generator import format_vars, generate_variants, parse_spec_vars


def configs(space: dict[str, Any], samples: int = 1, **options: Any) -> list[dict[str, Any]]:
    source = BasicVariantGenerator(**options)
    source.set_search_properties(None, None, space, num_samples=samples)
    found = []
    while (suggestion := source.next(f"t{len(found)}")) is not DONE:
        found.append(suggestion.config)
    assert len(found) == source.total_samples
    return found


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e3), st.integers(0, 2**32))
def test_floats_are_within_their_bounds(low: float, width: float, seed: int) -> None:
    high = low + width
    for domain in (tune.uniform(low, high), tune.loguniform(low, high)):
        assert low <= domain.sample(random_state=seed) <= high
    q = width / 7
    value = tune.quniform(low, high, q).sample(random_state=seed)
    assert low - 1e-9 * high <= value <= high + 1e-9 * high
    assert math.isclose(value / q, round(value / q), abs_tol=1e-6)


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 20), st.integers(0, 2**32))
def test_integers_are_within_their_bounds(low: int, width: int, q: int, seed: int) -> None:
    high = low + width
    assert low <= tune.randint(low, high).sample(random_state=seed) < high
    assert low <= tune.lograndint(low, high).sample(random_state=seed) < high
    if high // q >= -(-low // q):
        for domain in (tune.qrandint(low, high, q), tune.qlograndint(low, high, q)):
            value = domain.sample(random_state=seed)
            assert isinstance(value, int)
            assert low <= value <= high
            assert value % q == 0


def test_what_is_drawn_is_as_likely_as_it_should_be() -> None:
    rng = random.Random(7)
    values = [tune.loguniform(1e-4, 1e0).draw(rng) for _ in range(4000)]
    below = sum(value < 1e-2 for value in values) / len(values)
    assert 0.46 < below < 0.54
    drawn = tune.randn(10, 2).sample(size=4000, random_state=7)
    mean = sum(drawn) / len(drawn)
    assert 9.9 < mean < 10.1
    assert 1.9 < math.sqrt(sum((each - mean) ** 2 for each in drawn) / len(drawn)) < 2.1
    assert set(tune.qrandint(1, 3).sample(size=200, random_state=7)) == {1, 2, 3}
    assert tune.qrandn(0, 1, 0.5).sample(random_state=3) % 0.5 == 0


def test_grids_are_gone_through_and_the_rest_is_drawn() -> None:
    found = configs(
        {"a": tune.grid_search([1, 2]), "b": {"c": tune.grid_search(["x", "y"])}, "d": tune.uniform(0, 1)}, 2
    )
    assert [(each["a"], each["b"]["c"]) for each in found] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")] * 2
    assert len({each["d"] for each in found}) == 8


def test_constant_grids_have_the_same_draw_for_all_combinations() -> None:
    found = configs(
        {"a": tune.grid_search([1, 2]), "d": tune.uniform(0, 1)}, 3, constant_grid_search=True, random_state=1
    )
    assert all(one["d"] == other["d"] for one, other in zip(found[::2], found[1::2], strict=True))
    assert len({each["d"] for each in found}) == 3


def test_a_seed_gives_the_same_configurations() -> None:
    space = {"a": tune.uniform(0, 1), "b": tune.choice([1, 2, 3])}
    assert configs(space, 5, random_state=7) == configs(space, 5, random_state=7)
    assert configs(space, 5, random_state=7) != configs(space, 5, random_state=8)


def test_functions_see_the_other_parameters_in_both_spellings() -> None:
    [config] = configs(
        {
            "last": tune.sample_from(lambda config: config["double"] + 1),
            "double": tune.sample_from(lambda spec: spec.config.a * 2),
            "a": tune.choice([3]),
            "own": tune.sample_from(lambda: "x"),
        }
    )
    assert config == {"a": 3, "double": 6, "last": 7, "own": "x"}


def test_a_choice_may_be_a_space_of_its_own() -> None:
    space = {
        "optimizer": tune.choice(
            [
                {"kind": "sgd", "momentum": tune.uniform(0.5, 0.9)},
                {"kind": "adam", "layers": [tune.randint(1, 3), 7]},
            ]
        )
    }
    seen = set()
    for config in configs(space, 40, random_state=1):
        chosen = config["optimizer"]
        seen.add(chosen["kind"])
        if chosen["kind"] == "sgd":
            assert 0.5 <= chosen["momentum"] <= 0.9
        else:
            assert chosen["layers"][0] in (1, 2)
            assert chosen["layers"][1] == 7
    assert seen == {"sgd", "adam"}


def test_points_come_first_and_the_rest_of_them_is_drawn() -> None:
    found = configs(
        {"a": tune.uniform(0, 1), "b": tune.choice([1, 2])},
        3,
        points_to_evaluate=[{"a": 0.25}, {"a": 0.5, "b": 2}],
    )
    assert found[0]["a"] == 0.25
    assert found[0]["b"] in (1, 2)
    assert found[1] == {"a": 0.5, "b": 2}
    assert len(found) == 3


def test_the_generator_goes_on_from_its_state() -> None:
    space = {"a": tune.uniform(0, 1)}
    whole = configs(space, 6, random_state=3)
    first = BasicVariantGenerator(random_state=3)
    first.set_search_properties(None, None, space, num_samples=6)
    for index in range(2):
        first.next(str(index))
    state = first.get_state()
    again = BasicVariantGenerator()
    again.set_search_properties(None, None, space, num_samples=6)
    again.set_state(state)
    again.note_trial("2", whole[2])
    assert [again.next(str(index)).config for index in range(3, 6)] == whole[3:]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: tune.choice([]), r"choice\(\[\]\) is empty"),
        (lambda: tune.choice("abc"), "must be a list of values"),
        (lambda: tune.grid_search([]), r"grid_search\(\[\]\) is empty"),
        (lambda: tune.uniform(1, 1), "is empty: the lower bound"),
        (lambda: tune.uniform(0, math.inf), "two bounds"),
        (lambda: tune.uniform("a", 1), "lower must be a finite number"),
        (lambda: tune.loguniform(0, 1), "bounds above 0"),
        (lambda: tune.lograndint(0, 5), "above 0, not 0"),
        (lambda: tune.randint(1.5, 3), "lower must be a whole number"),
        (lambda: tune.quniform(0.1, 0.2, 0.5), "no multiple of q=0.5"),
        (lambda: tune.quniform(0, 1, 0), "q must be more than 0"),
        (lambda: tune.randn(0, -1), "sd must be more than 0"),
        (lambda: tune.sample_from(3), "a function of the configuration"),
        (lambda: tune.sample_from(lambda a, b: 1), "one argument"),
        (lambda: parse_spec_vars({"a": {"grid_serch": [1]}}), "looks like a grid search"),
        (lambda: parse_spec_vars({"a": {"grid_search": [1], "b": 1}}), "a grid search stands alone"),
        (lambda: parse_spec_vars({"a": {"grid_search": []}}), "at least one value"),
        (lambda: parse_spec_vars({"a": tune.uniform}), "call it, as in tune.uniform"),
        (lambda: configs({"a": 1}, points_to_evaluate=[{"b": 2}]), "which the space does not have"),
        (lambda: BasicVariantGenerator(random_state="x"), "random_state must be"),
        (
            lambda: list(
                generate_variants(
                    {"a": tune.sample_from(lambda c: c["b"]), "b": tune.sample_from(lambda c: c["a"])}
                )
            ),
            "need each other's values",
        ),
    ],
)
def test_what_is_wrong_in_a_space_is_said_at_once(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_a_tag_is_a_name_that_a_folder_can_have() -> None:
    assert format_vars({("train", "lr"): 0.123456, ("kind",): "a/b"}) == "kind=a_b,lr=0.1235"
