"""Fuzz the parsers, guided by their coverage: python tests/fuzz/run.py --seconds 60 [--only NAME].

The time is shared by the targets (`fuzz_targets`), each in a process of its own. Inputs that
reach new code are kept in `.fuzz/`, where the next run goes on from; an input that crashes is
saved there as well, and its name is printed: it belongs into the corpus once the bug is found,
where `test_corpus` runs it ever after. Exit code 1 if there was any.

It needs atheris, and Linux.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
KEPT = ROOT / ".fuzz"
LONGEST = 2048  # bytes of an input
SLOWEST = 20  # seconds for one input, past which it counts as a crash
MEMORY = 2048  # MB
NAMES = tuple(sorted(path.name for path in (HERE / "corpus").iterdir() if path.is_dir()))

EXECUTED = re.compile(r"number_of_executed_units: (\d+)|^Done (\d+) runs", re.MULTILINE)
NOISE = re.compile(r"^INFO: Instrumenting .*\n", re.MULTILINE)
COVERED = re.compile(r"cov: (\d+) ft: (\d+)")


def say(text):
    """Print a line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fuzz_one(name, options):
    """Fuzz one target in this process, by libFuzzer, which does not come back."""
    sys.path[:0] = [str(ROOT / "transports"), str(ROOT), str(HERE), str(HERE.parent)]
    import atheris  # only this process needs it

    with atheris.instrument_imports(include=["claude_lite", "claude_lite_transports"]):
        from fuzz_targets import run  # it has to be instrumented

    atheris.Setup([sys.argv[0], *options], lambda data: run(name, data))
    atheris.Fuzz()


def start(name, *options):
    """Fuzz one target in a process of its own; give its exit code and what it said."""
    command = [sys.executable, __file__, "--target", name, "--", *options]
    ended = subprocess.run(  # noqa: S603  # it starts itself
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    said = ended.stdout.decode("utf-8", "replace")
    return ended.returncode, NOISE.sub("", said)


def fuzz(name, seconds):
    """Fuzz one target for some time; print what came of it, and say whether it held."""
    kept = KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    code, said = start(
        name,
        str(kept),
        str(HERE / "corpus" / name),
        f"-artifact_prefix={KEPT}/{name}-",
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={MEMORY}",
        "-print_final_stats=1",
        "-reload=0",  # nobody else writes there
    )
    took = time.monotonic() - began
    executed = sum(int(a or b) for a, b in EXECUTED.findall(said)[:1])
    covered, features = (COVERED.findall(said) or [("0", "0")])[-1]
    state = "ok" if code == 0 else "CRASHED"
    say(f"{name:12}{executed:>12,}{covered:>10}{features:>10}{took:>8.0f} s  {state}")
    if code:
        say(said[-6000:])
    return code == 0, executed


def main():
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Fuzz the parsers.")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--only", metavar="NAME", action="append", choices=NAMES)
    parser.add_argument("--target", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("options", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.target:
        fuzz_one(given.target, given.options)
    names = given.only or NAMES
    say(f"{'target':12}{'executions':>12}{'edges':>10}{'features':>10}")
    results = [fuzz(name, max(1, given.seconds // len(names))) for name in names]
    say(f"{'all':12}{sum(executed for _, executed in results):>12,}")
    return 0 if all(held for held, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
