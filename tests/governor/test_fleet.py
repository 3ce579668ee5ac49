"""The governor in virtual time: the scenarios of the benchmark, with 8 processes of 16 tasks."""

import sys

import pytest
from places import ROOT

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("benchmarks are not part of what is installed", allow_module_level=True)
sys.path.append(str(ROOT))

from benchmarks.fleet import report  # found there only from here on
from benchmarks.fleet.scenarios import SCENARIOS, Run

# Those of a hundred processes with a hundred tasks are the first ones, but for their size.
NAMES = [
    pytest.param(name, marks=[] if number % 5 == 0 else pytest.mark.slow)
    for number, name in enumerate(SCENARIOS)
    if not name.startswith("fleet ")
]


@pytest.mark.parametrize("name", NAMES)
def test_the_goal_is_reached(name):
    """Use of the limit, refusals, fairness, waits: the goal of the scenario is reached."""
    scenario = SCENARIOS[name].small()
    figures = Run(scenario).figures()
    assert not figures.missed(scenario.goal), report.text([(scenario, figures)])
    assert not figures.unanswered


def test_a_run_can_be_repeated():
    """The same scenario with the same seed gives the same figures."""
    scenario = SCENARIOS["redis restarts"]
    assert Run(scenario).figures() == Run(scenario).figures()


def test_the_report_has_every_row():
    """The table and the chart name the scenarios, and say what was missed."""
    scenario = SCENARIOS["gather 150"]
    row = scenario, Run(scenario).figures()
    assert scenario.title in report.text([row])
    assert "reached" in report.markdown([row])
    assert scenario.title in report.chart([row])
    row[1].unanswered = 1
    assert "MISSED: answers" in report.text([row])
