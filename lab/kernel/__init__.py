"""A Linux kernel with WireGuard for the tests, as an ordinary program.

The kernel of the machine that runs the tests may have no WireGuard and no netem, and its clock cannot be hurried.
So the tests bring their own: Linux compiled for User Mode (`ARCH=um`) runs as one process, on the host's own files
(read-only, below a throw-away overlay), boots in about a second, and needs no virtualisation. Its clock can
be virtual: then time passes only while nobody has anything to do, and an hour of waiting costs milliseconds.

    python -m lab.kernel build                                       make it, once; cached outside the repository
    python -m lab.kernel run --time-travel -- COMMAND ...            run a command inside
    python -m lab.kernel test                                        run tests/kernel inside

Source: Documentation/virt/uml/user_mode_linux_howto_v2.rst in the Linux tree.
"""


class KernelError(Exception):
    """The kernel could not be built, booted or waited for. The message is one line for a person."""
