import msgspec

from tests.protocol.test_local import DIRECT, STATUS
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import CandidateKind, Outcome, Trial
from wireguard_mesh.model.relays import OWN_RELAY, NatClass
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.status import (
    NO_PATH,
    NatStatus,
    PortMapping,
    RelayStatus,
    Status,
    Transport,
    UdpState,
)

AT = Endpoint.parse("203.0.113.9:7")


def test_all_that_is_known_of_paths_travels() -> None:
    trial = Trial(endpoint=AT, kind=CandidateKind.REFLEXIVE, outcome=Outcome.HEARD, times=2, last_tried=5.0)
    path = msgspec.structs.replace(DIRECT, trials=(trial,), next_probe=9.5)
    peer = msgspec.structs.replace(STATUS.peers[0], nat=NatClass.HARD, path=path)
    relay = RelayStatus(
        id=OWN_RELAY, addresses=(AT,), reachable=True, transport=Transport.WEBSOCKET, milliseconds=1.5, pairs=3
    )
    known = msgspec.structs.replace(
        STATUS,
        udp=UdpState.BLOCKED,
        nat=NatStatus(kind=NatClass.EASY, host=(AT,), reflexive=(AT,), mapped=(AT,)),
        port_mapping=PortMapping(protocol="pcp", endpoint=AT),
        relays=(relay,),
        peers=(peer,),
    )
    assert local.answer.decode(encode(known)) == known


def test_the_status_of_an_older_agent_is_understood() -> None:
    fields = msgspec.json.decode(encode(STATUS))
    for name in ("udp", "nat", "relays", "port_mapping"):
        del fields[name]
    for peer in fields["peers"]:
        del peer["nat"], peer["path"]
    older = local.answer.decode(msgspec.json.encode(fields))
    assert isinstance(older, Status)
    assert (older.udp, older.relays, older.peers[0].path) == (UdpState.UNKNOWN, (), NO_PATH)


def test_the_status_of_a_newer_agent_is_understood() -> None:
    fields = msgspec.json.decode(encode(STATUS)) | {"colour": "red"}
    assert local.answer.decode(msgspec.json.encode(fields)) == STATUS
