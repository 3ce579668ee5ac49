"""Faults of a server or a network, as a script of plain JSON data.

`FaultScript` chooses the fault for a request (`claude_lite.faults.script` describes the
language of scripts); `Tamper` changes the bytes of the reply. The emulator, its server and the
transport `claude_lite_transports.faulty` act out the same scripts.
"""

from claude_lite.faults.script import FaultRule, FaultScript, Selector
from claude_lite.faults.tampering import End, Fault, Step, Tamper

__all__ = ["End", "Fault", "FaultRule", "FaultScript", "Selector", "Step", "Tamper"]
