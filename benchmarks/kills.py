"""Kill a worker of a real engine, and count what it cost: `python -m benchmarks.kills`.

For taskiq and for Celery: 2,000 jobs, two workers over a RabbitMQ of their own, of which one gets
SIGKILL when a third of the jobs is answered. Of ten calls two fail at first. No job may be lost,
and the calls made twice must be at most those that the dead worker had.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from brokers.fleet import ENGINES, Fleet
from brokers.servers import HOW_TO_INSTALL, are_installed, running_rabbitmq


def run(engine: str, jobs: int, slots: int) -> bool:
    """Run jobs, kill a worker, print the counts; return whether they are as they should be."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_rabbitmq(folder) as rabbitmq,
        Fleet(engine, folder, rabbitmq, slots=slots) as fleet,
    ):
        fleet.start(2)
        fleet.put(range(jobs), deadline=3600)
        fleet.wait(lambda: len(fleet.results()) >= jobs / 3, "a third of the answers", 600)
        fleet.signal(fleet.workers[0], signal.SIGKILL)
        fleet.wait(lambda: len(fleet.results()) + len(fleet.errors()) >= jobs, "all answers", 600)
        fleet.stop(fleet.workers[1])
        lost = jobs - len(fleet.results())
        doubled = fleet.doubled(fleet.results())
        print(f"{engine}: {jobs} jobs, {lost} lost, {doubled} calls made twice, at most {slots}")
        return lost == 0 and doubled <= slots


def main() -> int:
    """Run all engines; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2000, metavar="N")
    parser.add_argument("--slots", type=int, default=100, metavar="N", help="calls per worker")
    given = parser.parse_args()
    if not are_installed():
        print(HOW_TO_INSTALL)
        return 1
    outcomes = [run(engine, given.jobs, given.slots) for engine in ENGINES]  # both run
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
