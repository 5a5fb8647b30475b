"""A relay's calls to the coordination server: signed as a peer's are, with the key of its first vantage point."""

from __future__ import annotations

from wireguard_mesh.client.control import Control, NotRegistered
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.protocol import relay_api
from wireguard_mesh.protocol.codec import Decoder

_left: Decoder[relay_api.RelayLeft] = Decoder(relay_api.RelayLeft)


class RelayControl(Control):
    """One relay's calls to one server; the map and its stream are those of `Control`."""

    async def register_relay(self, registration: relay_api.RelayRegistration) -> relay_api.RelayRegistered:
        """Come into the map, or say anew where this relay is."""
        try:
            return await self._call("POST", "/v1/relays/register", registration, relay_api.relay_registered)
        except NotRegistered:
            raise Unavailable(
                f"{self.http.dialer.server} takes no relays", "check -server, and that its vpn-server is a recent one"
            ) from None

    async def relay_heartbeat(self, heartbeat: relay_api.RelayHeartbeat) -> relay_api.RelayHeartbeatResponse:
        """Say that this relay lives, and what it sees. Raises `NotRegistered`."""
        return await self._call("POST", "/v1/relays/heartbeat", heartbeat, relay_api.relay_heartbeat_response)

    async def leave(self) -> None:
        """Leave the map. Raises `NotRegistered`."""
        await self._call("DELETE", "/v1/relays", None, _left)
