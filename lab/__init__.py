"""A lab of network namespaces for tests, the demonstration and benchmarks. Not part of what is shipped.

    with Lab() as lab:
        lan = lab.switch("lan", "192.0.2.0/24", "2001:db8:1::/64")
        a, b = lab.host("a", lan), lab.host("b", lan)
        a.run("ping", "-c1", b.ipv4)

Everything in it is real: processes, kernels' routes, packets. Nothing in it outlives the process that made it.
"""

from lab.errors import LabError
from lab.host import Host
from lab.lab import Lab
from lab.network import Link, Switch
from lab.process import Process
from lab.router import Router

__all__ = ["Host", "Lab", "LabError", "Link", "Process", "Router", "Switch"]
