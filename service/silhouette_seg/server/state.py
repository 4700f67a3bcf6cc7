"""State that all connections of one server share."""

from uvicorn.server import ServerState

from silhouette_seg.server.shared_port import SharedPort
from silhouette_seg.telemetry import Telemetry


class SharedState(ServerState):
    """State of uvicorn's server, with the telemetry of the service and the begin of its stop."""

    def __init__(self, telemetry: Telemetry, port: SharedPort | None = None) -> None:
        super().__init__()
        self.port = port
        """The port that several processes share; None in a server with one."""
        self.telemetry = telemetry
        self.draining = False
        """True from the stop signal on: the next response of each connection is its last."""
