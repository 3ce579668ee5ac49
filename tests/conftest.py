"""What a runner's environment must not change: tests see a terminal's Ctrl-C, and no CI."""

import os
import signal

os.environ.pop("CI", None)  # it forbids recordings; tests that are about that set it
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where we run in the background
