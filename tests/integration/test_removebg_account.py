"""`GET /v1.0/account`, and `crop` together with `scale` at `POST /v1.0/removebg`."""

from tests.integration.conftest import in_process
from tests.integration.pictures import picture
from tests.integration.test_removebg import HEIGHT, WIDTH, error_of, left_half, post


async def test_account_has_credits(service):
    answer = await service.client.get("/v1.0/account")
    assert answer.json() == {
        "data": {
            "attributes": {
                "credits": {"total": 1000, "subscription": 0, "payg": 1000, "enterprise": 0},
                "api": {"free_calls": 50, "sizes": "all"},
            }
        }
    }


async def test_account_without_key_is_a_403(settings_with):
    async with in_process(settings_with(api_keys="sesame")) as keyed:
        error_of(await keyed.client.get("/v1.0/account"), 403, "auth_failed")
        answer = await keyed.client.get("/v1.0/account", headers={"X-Api-Key": "sesame"})
        assert answer.status_code == 200


async def test_crop_with_scale_returns_the_scaled_person(service):
    answer = await post(service, left_half(), crop="true", scale="50%", size="full")
    assert picture(answer).shape[:2] == (HEIGHT // 2, WIDTH // 4)
    assert (answer.headers["x-width"], answer.headers["x-height"]) == ("24", "32")
