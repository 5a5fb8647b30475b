"""As whom a web server outside sees a laptop behind a NAT: without exit node, with it, and after a crash and `down`."""

from bench.report import Figure
from lab import Lab
from lab.internet import Address, internet
from lab.mesh import Client


def measure() -> list[Figure]:
    """Each figure counts the source addresses, IPv4 and IPv6, that are not as they should be; the note names them."""
    with Lab("bench-exit-node") as lab, internet(lab) as world:
        figures = [_figure("before the mesh", world.web.sees_both(world.laptop), world.home)]
        Client(world.exit_host, world.server, "-exit-node").addresses()
        laptop = Client(world.laptop, world.server, "-use-exit-node", "off")
        laptop.addresses()
        figures.append(_figure("exit node off", world.web.sees_both(world.laptop), world.home))
        laptop.host.run("vpn-client", "set", "-use-exit-node", "auto")
        figures.append(_figure("exit node on", world.until_exit(), world.exit))
        laptop.process.kill()
        figures.append(_figure("agent SIGKILLed", world.web.sees_both(world.laptop), world.exit))
        laptop.host.run("vpn-client", "down")
        figures.append(_figure("after `down`", world.web.sees_both(world.laptop), world.home))
        return figures


def _figure(name: str, seen: tuple[Address, Address], expected: tuple[Address, Address]) -> Figure:
    wrong = sum(one != other for one, other in zip(seen, expected, strict=True))
    note = f"seen as {seen[0]} and {seen[1]}"
    return Figure(name=f"exit node: wrong sources, {name}", value=wrong, unit="", aim="0", note=note)
