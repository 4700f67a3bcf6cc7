"""Reads metrics as an operator does: from the text of `/metrics`."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


def metric_value(response: httpx.Response, name: str, **labels: str) -> float:
    """Returns the sum of the samples of a metric with these labels; 0 without such a sample."""
    assert response.status_code == 200, response.text
    return sum(
        sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


class Metrics:
    """Metrics of one application or server."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def value(self, name: str, **labels: str) -> float:
        """Returns the current value of a metric, as `metric_value` does."""
        return metric_value(await self._client.get("/metrics"), name, **labels)

    async def requests(self, status: int, code: str, route: str = "/v1/segment") -> float:
        """Returns the number of requests to a route that ended with this status and code."""
        labels = {"route": route, "status": str(status), "code": code}
        return await self.value("silhouette_requests_total", **labels)

    async def engine_failures(self, code: str, model: str = "connectnet") -> float:
        """Returns the number of inferences of a model that ended with this code."""
        return await self.value("silhouette_engine_failures_total", model=model, code=code)

    async def failing(self, model: str = "connectnet") -> bool:
        """Returns whether the engine of a model is reported as failing."""
        return await self.value("silhouette_engine_failing", model=model) == 1

    async def frames(self, transport: str, outcome: str) -> float:
        """Returns the number of frames of a transport that had this outcome."""
        labels = {"transport": transport, "outcome": outcome}
        return await self.value("silhouette_frames_total", **labels)
