"""Tests that need WireGuard in the kernel, netem or a clock that can be hurried.

`make test-kernel` runs them inside the kernel of lab/kernel; anywhere else they are not collected.
"""

import os

from lab.kernel.guest import MARK_INSIDE

collect_ignore_glob = [] if os.environ.get(MARK_INSIDE) == "1" else ["test_*.py"]
