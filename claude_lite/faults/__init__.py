"""What can go wrong on a wire, as a script of plain JSON data.

`FaultScript` chooses which request is struck (`claude_lite.faults.script` has the language);
`Tamper` changes the bytes of its reply. The emulator, its server and the transport
`claude_lite_transports.faulty` all act out the same scripts.
"""

from claude_lite.faults.script import FaultRule, FaultScript, Selector
from claude_lite.faults.tampering import End, Fault, Step, Tamper

__all__ = ["End", "Fault", "FaultRule", "FaultScript", "Selector", "Step", "Tamper"]
