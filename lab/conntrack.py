"""Connection tracking of a router: how to empty it.

One netlink message does it, which conntrack(8) would send with `-F`: <linux/netfilter/nfnetlink.h>,
<linux/netfilter/nfnetlink_conntrack.h>, and RFC 3549 for the header.
"""

import os
import socket
import struct

from lab.errors import LabError
from lab.machine import Machine

_NETLINK_NETFILTER = 12
_NFNL_SUBSYS_CTNETLINK = 1
_IPCTNL_MSG_CT_DELETE = 2
_NLM_F_REQUEST, _NLM_F_ACK = 0x1, 0x4
_NLMSG_ERROR = 2
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_NFGENMSG = struct.Struct("=BBH")  # family, version, resource
_ERROR = struct.Struct("=i")
_ANSWER_SIZE = 4096


def flush(machine: Machine) -> None:
    """Forget every connection, and with it every mapping of a NAT. Raises `LabError`."""
    kind = _NFNL_SUBSYS_CTNETLINK << 8 | _IPCTNL_MSG_CT_DELETE
    body = _NFGENMSG.pack(socket.AF_UNSPEC, 0, 0)  # without attributes: all of both families
    message = _HEADER.pack(_HEADER.size + len(body), kind, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0) + body
    with machine.network(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as channel:
        channel.send(message)
        answer = channel.recv(_ANSWER_SIZE)
    _length, answered, _flags, _sequence, _port = _HEADER.unpack_from(answer)
    (code,) = _ERROR.unpack_from(answer, _HEADER.size)
    if answered != _NLMSG_ERROR or code != 0:
        raise LabError(f"{machine.name}: conntrack cannot be flushed: {os.strerror(-code)}")
