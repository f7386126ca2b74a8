"""Goals of a sweep: what can be asked for, the front, what is recommended of it, and how it is searched for."""

import math

import numpy as np
import optuna
import pytest
from ead_platform.sweep import measures
from ead_platform.sweep.checked_space import check_space, reference_points
from ead_platform.sweep.front import front, ranked, recommended
from ead_platform.sweep.importance import importances
from ead_platform.sweep.measures import available, measure
from ead_platform.sweep.objectives import CALLS, Constraint, Goals, Objective
from ead_platform.sweep.searcher import DistinctOptunaSearch
from ead_platform.sweep.space import Space, parse_parameter
from ead_platform.sweep.study import identity

from ead_core.errors import ConfigError

from ..in_this_process import in_this_process

SPACE = Space(
    {
        "sampler.async_ratio": parse_parameter("", [0.0, 0.2, 0.5]),
        "sampler.pause_mode": parse_parameter("", ["repeat", "hold"]),
    }
)
TWO = Goals((Objective("q", True), Objective("c", False)))


def made(*figures):
    """Rows of trials with a quality, a cost, and as many calls."""
    return [{"trial": f"t{n}", "outcome": "finished", "q": q, "c": c, CALLS: c} for n, (q, c) in enumerate(figures)]


def trials_of(rows):
    return [row["trial"] for row in rows]


def test_the_short_names_of_a_command_line_are_figures_of_the_card():
    with in_this_process():
        goals = Goals.parse("strictly_valid:max,calls_per_delivered:min", ["validity>=0.85", "calls<=200"])
    assert goals.names == ["strict_validity", "calls_per_delivered", "validity", CALLS]
    assert [each.mode for each in goals.objectives] == ["max", "min"]
    assert goals.parts == ()
    assert goals.percent("strict_validity")
    assert not goals.percent("calls_per_delivered")
    assert "strictly valid" in goals.title("strict_validity")
    assert goals.to_json() == {
        "objectives": ["strict_validity:max", "calls_per_delivered:min"],
        "constraints": ["validity>=0.85", "nfe_per_molecule<=200"],
        "parts": [],
    }
    assert Goals.parse().usual
    assert Goals.parse().to_json() == {}
    assert not Goals.parse(constraints=["validity>=0.5"]).usual


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"objectives": "validity"}, "--objectives must be like strictly_valid:max,calls_per_delivered:min, not"),
        ({"objectives": "validity:up"}, "not 'validity:up'."),
        ({"objectives": "validity:max,"}, "not ''."),
        ({"objectives": "validty:max"}, "there is no measure 'validty'; did you mean validity?"),
        ({"objectives": "qed:max"}, "there is no measure 'qed'; "),
        ({"objectives": "validity:max,validity:min"}, "--objectives: validity is given twice."),
        ({"constraints": ["validity>0.5"]}, "--constraint must be like 'validity>=0.85', a share of 1, not"),
        ({"constraints": ["validity>=much"]}, "not 'validity>=much'."),
        ({"constraints": ["validity>=nan"]}, "not 'validity>=nan'."),
        ({"parts": "chemstry"}, "--parts does not know 'chemstry'"),
    ],
)
def test_goals_that_cannot_be_followed_are_one_sentence(asked, sentence):
    with in_this_process(), pytest.raises(ConfigError) as error:
        Goals.parse(**asked)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_calls_per_delivered_are_all_calls_over_the_distinct_strictly_valid_molecules():
    """Methane twice and water, a call each: two delivered molecules for three calls."""
    with in_this_process():
        found = available(())
    assert found["strict_validity"].value == 1
    assert found["calls_per_delivered"].value == pytest.approx(3 / 2)
    low, high = found["calls_per_delivered"].interval
    assert low < 1.5 < high <= 3


def test_where_nothing_is_delivered_the_calls_are_those_of_one_molecule_to_come():
    broken = measures._three()
    broken.positions[:] *= 9
    with in_this_process():
        _, metrics = measure(broken, None, ())
    assert metrics["strict_validity"] == 0
    assert metrics["calls_per_delivered"] == 3
    assert all(math.isfinite(value) for value in metrics.values())


def test_a_trial_whose_measure_is_no_number_cannot_be_judged():
    assert TWO.unknown({"q": 0.5, "c": 3.0}) is None
    assert TWO.unknown({"q": math.nan, "c": 3.0}) == "q is nan, so that the trial cannot be judged."
    assert TWO.unknown({"q": 0.5, "c": math.inf}).startswith("c is inf")
    assert TWO.unknown({"q": 0.5}) == "c is unknown, so that the trial cannot be judged."


def test_the_front_is_what_no_other_trial_is_better_than():
    rows = made((0.5, 10), (0.9, 50), (0.4, 20), (0.7, 20), (0.7, 30), (0.9, 60))
    assert trials_of(front(TWO, rows)) == ["t1", "t3", "t0"]
    values = np.random.default_rng(0).random((60, 2))
    rows = made(*values)
    study = optuna.create_study(directions=["maximize", "minimize"])
    for q, c in values:
        study.add_trial(optuna.create_trial(values=[q, c]))
    assert set(trials_of(front(TWO, rows))) == {f"t{trial.number}" for trial in study.best_trials}


def test_a_single_objective_has_its_front_with_the_network_calls():
    goals = Goals((Objective("q", True),))
    assert trials_of(front(goals, made((0.5, 10), (0.9, 50), (0.4, 20)))) == ["t1", "t0"]


def test_what_breaks_a_bound_is_on_no_front_and_ranked_last():
    goals = Goals(TWO.objectives, (Constraint("q", True, 0.5), Constraint("c", False, 40)))
    rows = made((0.5, 10), (0.9, 50), (0.4, 5), (0.7, 20))
    assert trials_of(front(goals, rows)) == ["t3", "t0"]
    assert trials_of(ranked(goals, rows)) == ["t3", "t0", "t1", "t2"]
    assert recommended(goals, made((0.4, 5), (0.9, 50))) == {}
    assert front(goals, made((0.4, 5))) == []


def test_three_settings_of_the_front_are_recommended():
    rows = made((0.5, 10), (0.9, 110), (0.85, 30), (0.6, 20), (0.2, 9), (0.1, 300))
    chosen = recommended(TWO, rows)
    assert {name: row["trial"] for name, row in chosen.items()} == {"fast": "t4", "balanced": "t2", "best": "t1"}
    assert {row["trial"] for row in recommended(TWO, made((0.5, 10))).values()} == {"t0"}


def searched(search, value, count):
    """Points that a search proposes, each told its figures."""
    proposed = []
    for number in range(count):
        point = search.suggest(f"t{number}")
        if point == "FINISHED":
            break
        proposed.append(point)
        search.on_trial_complete(f"t{number}", value(point))
    return proposed


def test_every_point_is_proposed_once_and_then_the_search_ends():
    search = DistinctOptunaSearch(SPACE, Goals((Objective("q", True),)), identity, algorithm="random", seed=0)
    proposed = searched(search, lambda point: {"q": 0.1}, 10)
    assert len({identity(point) for point in proposed}) == len(proposed) == 5  # synchronous once, 2 × 2 others
    assert search.exhausted


def test_points_of_an_earlier_sitting_are_not_proposed_again():
    search = DistinctOptunaSearch(SPACE, Goals((Objective("q", True),)), identity, algorithm="random", seed=0)
    search.add_finished({"sampler.async_ratio": 0.2, "sampler.pause_mode": "hold", "q": 0.5})
    search.avoid({"sampler.async_ratio": 0.5, "sampler.pause_mode": "hold"})
    proposed = searched(search, lambda point: {"q": 0.1}, 10)
    assert len(proposed) == 3
    assert {"sampler.async_ratio": 0.2, "sampler.pause_mode": "hold"} not in proposed
    assert {"sampler.async_ratio": 0.5, "sampler.pause_mode": "hold"} not in proposed


def test_an_impossible_point_is_told_once_and_takes_no_trial():
    told = []

    def refusal(point):
        return "held" if point["sampler.pause_mode"] == "hold" else None

    search = DistinctOptunaSearch(
        SPACE,
        Goals((Objective("q", True),)),
        identity,
        refusal=refusal,
        refused=lambda *what: told.append(what),
        algorithm="random",
        seed=0,
    )
    proposed = searched(search, lambda point: {"q": 0.1}, 10)
    assert all(point["sampler.pause_mode"] == "repeat" for point in proposed)
    assert len({identity(point) for point, _ in told}) == len(told) >= 2
    assert {reason for _, reason in told} == {"held"}


@pytest.mark.parametrize("outcome", [None, {"outcome": "stopped"}, {"q": math.nan}])
def test_a_trial_without_figures_leaves_the_search_able_to_go_on(outcome):
    """Optuna would leave a trial running that is told something that is no number."""
    search = DistinctOptunaSearch(SPACE, Goals((Objective("q", True),)), identity, algorithm="random", seed=0)
    first = search.suggest("t0")
    search.on_trial_complete("t0", outcome, error=outcome is None)
    study = optuna.load_study(study_name="sweep", storage=search._storage_of_study)
    assert [trial.state.name for trial in study.trials] == ["FAIL"]
    assert first not in searched(search, lambda point: {"q": 0.1}, 10)


def quadratic(point):
    """Quality and cost that disagree: the front is a = 0 … 0.5, whatever b."""
    a, b = point["sampler.temperature"], point["sampler.corrector"]
    return {"q": 1 - (a - 0.5) ** 2 - b, "c": a + b}


def wide():
    unit = {"type": "float", "low": 0.01, "high": 1}
    return Space({key: parse_parameter(key, unit) for key in ("sampler.temperature", "sampler.corrector")})


@pytest.mark.parametrize(("algorithm", "trials"), [("tpe", 50), ("nsga2", 100)])
def test_a_search_for_two_objectives_comes_nearer_to_the_front_than_chance(algorithm, trials):
    """On the front the second parameter is at its low end; by chance its mean is 0.5."""
    search = DistinctOptunaSearch(wide(), TWO, identity, algorithm=algorithm, seed=1)
    proposed = searched(search, quadratic, trials)
    assert np.mean([point["sampler.corrector"] for point in proposed[-20:]]) < 0.35


def test_a_search_keeps_to_its_constraints_also_those_of_an_earlier_sitting():
    """The best quality is at 0.5, the bound allows at most 0.2; without it most proposals lie above."""
    free, bound = TWO, Goals((Objective("q", True),), (Constraint("c", False, 0.2),))
    allowed = {}
    for name, goals in (("free", Goals(free.objectives[:1])), ("bound", bound)):
        space = Space({"sampler.temperature": wide().parameters["sampler.temperature"]})
        search = DistinctOptunaSearch(space, goals, identity, seed=0)
        for a in np.linspace(0.05, 1, 12):
            point = {"sampler.temperature": float(a)}
            search.add_finished({**point, "q": 1 - (a - 0.5) ** 2, "c": a})
        proposed = searched(search, lambda p: quadratic({**p, "sampler.corrector": 0}), 20)
        allowed[name] = np.mean([point["sampler.temperature"] <= 0.2 for point in proposed])
    assert allowed["bound"] >= 0.5
    assert allowed["free"] <= 0.2


def test_what_matters_is_told_of_parameters_that_all_trials_have():
    points = [{"sampler.temperature": a, "sampler.corrector": b} for a in (0.1, 0.4, 0.9) for b in (0.1, 0.5)]
    rows = [{**point, "q": point["sampler.temperature"], "c": 1.0} for point in points]
    found = importances(wide(), TWO, rows)
    assert found.keys() == {"q"}  # the cost is the same everywhere
    assert found["q"]["sampler.temperature"] > 0.9
    assert importances(wide(), TWO, rows[:3]) == {}


def test_a_search_of_one_objective_proposes_what_it_always_did(tiny_checkpoint):
    """The founding experiment is the same as when its space was a list of choices in Optuna's own form."""
    from ead_platform.sweep.study import Campaign
    from optuna.distributions import CategoricalDistribution

    from ead_core.checkpoints.checkpoint import load_checkpoint

    campaign = Campaign(load_checkpoint(tiny_checkpoint), 0, 0, 4, 1)
    content = {
        "sampler.async_ratio": [0.0, 0.2, 0.4],
        "sampler.history_window": [2, 3],
        "sampler.pause_mode": ["repeat", "hold"],
    }
    space = check_space(content, campaign)
    points = reference_points(space)

    def value(point):
        return point["sampler.async_ratio"] + 0.1 * point["sampler.history_window"]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=5))
    for point in points:
        study.enqueue_trial(point)
    before, seen = [], set()
    while len(before) < 9:
        trial = study.ask({key: CategoricalDistribution(choices) for key, choices in space.to_json().items()})
        if identity(trial.params) not in seen:
            before.append(trial.params)
            seen.add(identity(trial.params))
        study.tell(trial, value(trial.params))
    search = DistinctOptunaSearch(
        space, Goals((Objective("q", True),)), identity, points, campaign.refusal, algorithm="tpe", seed=5
    )
    assert searched(search, lambda point: {"q": value(point)}, 9) == before
