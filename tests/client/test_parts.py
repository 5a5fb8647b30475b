from tests.client.conftest import Agents
from tests.samples import private_key
from wireguard_mesh.model.servers import ServerAddress


async def test_all_parts_of_an_agent_speak_of_one_engine_and_one_identity(agents: Agents) -> None:
    parts = agents.start(1, ServerAddress("http", "127.0.0.1", 9)).agent.parts
    assert parts.device.engine is parts.engine
    assert parts.engine.settings.private_key == parts.disk.state.private_key == private_key(1)
    assert parts.machine.hostname == parts.disk.state.hostname
