"""Schedules, ratings and ranks against the golden numbers, and what must hold for any tournament."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlab.errors import InputError, SettingsError
from omlab_pulse_eval.battles import OUTCOMES, battles_of, pooled, read_battles
from omlab_pulse_eval.figures import longer_wins, seatings_agree, share_of
from omlab_pulse_eval.ranking import average_ranks, position_ranks, shared_ranks
from omlab_pulse_eval.ratings import (
    Elo,
    bradley_terry,
    elo_online,
    elo_rounds,
    seeded_draws,
    win_shares,
    wins,
)
from omlab_pulse_eval.schedule import schedule, schedule_digest
from omlab_report import csv_text

GOLDEN = Path(__file__).parent / "golden"


def golden(name):
    return json.loads((GOLDEN / name).read_text())


@pytest.mark.parametrize("case", golden("schedule.json")["cases"], ids=lambda case: case["name"])
def test_the_recorded_schedules_are_regenerated(case):
    battles = schedule(
        case["models"],
        items=case["items"],
        per_pair=case["per_pair"],
        seed=case["seed"],
        blank=[tuple(pair) for pair in case["blank"]],
    )
    rows = [[seats.first, seats.second, seats.item] for seats in battles]
    assert len(rows) == case["count"]
    assert rows[: len(case["first"])] == case["first"]
    assert rows[len(rows) - len(case["last"]) :] == case["last"]
    assert schedule_digest(battles) == case["sha256"]


def test_both_seatings_follow_each_other_and_repetitions_are_counted():
    battles = schedule(["x", "y"], items=1, per_pair=3, both_seatings=True)
    seats = [(s.first, s.second, s.draw) for s in battles]
    assert seats == [pair for n in range(3) for pair in (("x", "y", n), ("y", "x", n))]


def test_a_pair_without_a_common_answer_is_an_error_and_not_an_endless_drawing():
    with pytest.raises(InputError, match="y and x have no item"):
        schedule(["x", "y"], items=2, blank=[("x", 0), ("y", 1)])
    with pytest.raises(SettingsError, match="two or more models"):
        schedule(["x", "x"], items=2)


@pytest.mark.parametrize("case", golden("synthetic.json")["cases"], ids=lambda case: case["name"])
def test_small_tournaments(case):
    rules = {"initial" if name == "init" else name: value for name, value in case["parameters"].items()}
    battles = battles_of(tuple(row) for row in case["battles"])
    found = dict(zip(battles.models, elo_online(battles, elo=Elo(**rules)), strict=True))
    assert found == pytest.approx(case["ratings"], abs=1e-8)


tournaments = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 4), st.sampled_from(OUTCOMES)), min_size=1, max_size=60
).map(lambda rows: battles_of((f"m{a}", f"m{(a + step) % 5}", winner) for a, step, winner in rows))


@settings(max_examples=40, deadline=None)
@given(battles=tournaments, k=st.floats(0.5, 64))
def test_the_sum_of_ratings_is_conserved_and_a_round_in_order_is_the_online_rating(battles, k):
    elo = Elo(k=k)
    online = elo_online(battles, elo=elo)
    assert online.sum() == pytest.approx(1000 * len(battles.models))
    in_order = np.arange(len(battles))[:, None]
    np.testing.assert_allclose(elo_rounds(battles, iter([in_order]), rounds=1, elo=elo)[0], online, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(battles=tournaments, seed=st.integers(0, 2**32 - 1))
def test_bradley_terry_does_not_depend_on_the_order_and_is_a_maximum(battles, seed):
    found = bradley_terry(battles)
    order = np.random.default_rng(seed).permutation(len(battles))
    shuffled = type(battles)(
        models=battles.models, first=battles.first[order], second=battles.second[order], outcome=battles.outcome[order]
    )
    again = bradley_terry(shuffled)
    if found is None:
        assert again is None
        return
    np.testing.assert_allclose(again, found, atol=1e-6)
    assert found.mean() == pytest.approx(1000)
    won = wins(battles)
    expected = 1 / (1 + 10 ** ((found[None, :] - found[:, None]) / 400))
    np.testing.assert_allclose(((won + won.T) * expected).sum(axis=1), won.sum(axis=1), atol=1e-6)


def test_bradley_terry_has_no_maximum_where_a_model_never_loses():
    assert bradley_terry(battles_of([("x", "y", "model_a"), ("x", "y", "model_a")])) is None
    assert bradley_terry(battles_of([("x", "y", "tie"), ("z", "w", "tie")])) is None


def test_hopeless_differences_do_not_overflow():
    battles = battles_of([("x", "y", "model_a")] * 50)
    assert np.isfinite(elo_online(battles, elo=Elo(k=1e9, scale=1e-3))).all()


def test_draws_of_a_seed_are_the_same_however_many_battles_there_are_at_a_time(monkeypatch):
    whole = np.concatenate(list(seeded_draws(100, rounds=7, seed=3)))
    monkeypatch.setattr("omlab_pulse_eval.ratings.BLOCK", 70)
    parts = list(seeded_draws(100, rounds=7, seed=3))
    assert len(parts) == 10
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_win_shares_leave_ties_out():
    battles = battles_of([("x", "y", "model_a"), ("y", "x", "model_a"), ("y", "x", "tie"), ("x", "z", "unparsed")])
    shares, mean = win_shares(battles)
    assert shares[0, 1] == shares[1, 0] == 0.5
    assert math.isnan(shares[0, 2])
    assert mean[:2].tolist() == [0.5, 0.5]
    assert math.isnan(mean[2])


def test_sets_are_pooled_by_name():
    one = battles_of([("x", "y", "model_a")])
    two = battles_of([("z", "x", "model_b")])
    both = pooled([one, two])
    assert both.models == ("x", "y", "z")
    assert both.first.tolist() == [0, 2]
    assert both.second.tolist() == [1, 0]


def test_average_ranks_by_the_three_rules():
    case = golden("average-rank.json")
    columns = {name: {model: row[n] for model, row in case["scores"].items()} for n, name in enumerate(case["columns"])}
    order = case["published_table2"]["row_order"]
    for rule, name in (
        ("position", "published_table2"),
        ("shared-rounded", "fractional_f1_2_decimals"),
        ("shared", "fractional"),
    ):
        found = average_ranks(columns, rule=rule, fractions=["MedTriage-F1"], order=order)
        assert found == case[name]["average"], rule


def test_equal_scores_share_a_rank_or_the_earlier_row_gets_the_worse():
    scores = np.array([3.0, 1.0, 3.0, math.nan])
    assert shared_ranks(scores).tolist() == [1.5, 3.0, 1.5, 4.0]
    assert position_ranks(scores).tolist() == [2.0, 3.0, 1.0, 4.0]


def test_a_share_has_its_interval():
    assert share_of(0, 0)["share"] is None
    found = share_of(10, 10)
    assert found["share"] == found["high"] == 1.0
    assert found["low"] == pytest.approx(0.7225, abs=1e-3)  # Wilson's interval of ten out of ten


def test_bias_figures():
    battles = battles_of([("x", "y", "model_a"), ("y", "x", "model_b"), ("x", "y", "model_b"), ("y", "x", "model_b")])
    assert longer_wins(battles, [(9, 1), (1, 9), (5, 5), (9, 1)]) == share_of(2, 3)
    assert seatings_agree(battles) == share_of(1, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: the column 'model_a' is missing; a battle log has model_a, model_b, winner."),
        ("model_a,model_b,winner\n", "holds no battles"),
        ("model_a,model_b,winner\nx,y,model_c\n", "line 2: the winner is 'model_c'"),
        ("model_a,model_b,winner\nx,y,tie\nx,x,tie\n", "line 3: 'x' against 'x'"),
        ("model_a,model_b,winner\nx,y\n", "line 2: 2 fields, but 3 columns"),
        ('model_a,model_b,winner\nx,y,"tie\n', "line 2"),
    ],
)
def test_a_wrong_battle_log_is_one_sentence_with_its_line(tmp_path, text, sentence):
    path = tmp_path / "battles.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence) as error:
        read_battles(path)
    assert str(path) in str(error.value)


def test_a_battle_log_of_safe_cells_has_the_names_that_were_meant(tmp_path):
    log = tmp_path / "battles.csv"
    log.write_text(csv_text(["model_a", "model_b", "winner"], [["=x", "-y", "tie"], ["-y", "z", "model_a"]]))
    assert read_battles(log).models == ("=x", "-y", "z")
