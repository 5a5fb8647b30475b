"""What relays and the server say to each other."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from tests.core.samples import public_key, relay
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.protocol import relay_api as api
from wireguard_mesh.protocol.api import RelayCounters
from wireguard_mesh.protocol.codec import encode

REGISTRATION = api.RelayRegistration(
    id="fra-1", vantage_points=relay(1).vantage_points, time=1, proof="00", ipv4=IPv4Address("192.0.2.1")
)


def test_messages_survive_the_wire() -> None:
    assert api.relay_registration.decode(encode(REGISTRATION)) == REGISTRATION
    registered = api.RelayRegistered(relay=relay(1))
    assert api.relay_registered.decode(encode(registered)) == registered
    seen = api.Observation(public_key=public_key(1), vantage=1, endpoint=Endpoint.parse("192.0.2.1:7"))
    beat = api.RelayHeartbeat(observations=(seen,), counters=RelayCounters(sessions=3))
    assert api.relay_heartbeat.decode(encode(beat)) == beat
    answer = api.RelayHeartbeatResponse(epoch="e", revision=3, time=4.0)
    assert api.relay_heartbeat_response.decode(encode(answer)) == answer
    assert encode(api.RelayLeft()) == b'{"success":true}'


def test_a_relay_has_two_vantage_points() -> None:
    with pytest.raises(InvalidValue, match="vantage_points"):
        api.relay_registration.decode(
            encode(REGISTRATION).replace(b'"vantage_points":[{', b'"vantage_points":[],"x":[{')
        )


def test_as_many_observations_as_a_heartbeat_may_have_fit_into_a_body() -> None:
    endpoint = Endpoint.parse("[2001:db8:1111:2222:3333:4444:5555:6666]:65535")
    one = api.Observation(public_key=public_key(1), vantage=1, endpoint=endpoint, over_web=True)
    beat = api.RelayHeartbeat(observations=(one,) * api.MAX_OBSERVATIONS)
    assert len(encode(beat)) < 64 * 1024
    api.relay_heartbeat.decode(encode(beat))
    with pytest.raises(InvalidValue, match="observations"):
        api.relay_heartbeat.decode(encode(api.RelayHeartbeat(observations=(one,) * (api.MAX_OBSERVATIONS + 1))))
    with pytest.raises(InvalidValue, match="vantage"):
        api.relay_heartbeat.decode(encode(beat).replace(b'"vantage":1', b'"vantage":2', 1))


@pytest.mark.parametrize("time", [-1, api.MAX_TIME, 1 << 63, 1 << 80])
def test_a_time_that_is_none_is_refused(time: int) -> None:
    body = encode(REGISTRATION).replace(b'"time":1', b'"time":%d' % time)
    with pytest.raises(InvalidValue, match="time"):
        api.relay_registration.decode(body)
