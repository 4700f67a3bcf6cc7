"""What an operator reads: `/metrics`, parsed."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


def value(answer: httpx.Response, name: str, **labels: str) -> float:
    """The sum of the samples of that name with these labels among theirs; 0 where there is none."""
    assert answer.status_code == 200, answer.text
    return sum(
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


class Metrics:
    """Those of one application or server."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def value(self, name: str, **labels: str) -> float:
        return value(await self._client.get("/metrics"), name, **labels)

    async def requests(self, status: int, code: str, route: str = "/v1/segment") -> float:
        labels = {"route": route, "status": str(status), "code": code}
        return await self.value("silhouette_requests_total", **labels)

    async def engine_failures(self, code: str, model: str = "connectnet") -> float:
        """Calls of the model that ended with that code."""
        return await self.value("silhouette_engine_failures_total", model=model, code=code)

    async def failing(self, model: str = "connectnet") -> bool:
        return await self.value("silhouette_engine_failing", model=model) == 1

    async def frames(self, transport: str, outcome: str) -> float:
        labels = {"transport": transport, "outcome": outcome}
        return await self.value("silhouette_frames_total", **labels)
