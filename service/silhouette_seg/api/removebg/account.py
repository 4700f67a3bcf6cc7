"""`GET /v1.0/account`: the credit balance that clients of remove.bg ask for."""

from fastapi import APIRouter
from pydantic import Field

from silhouette_seg.api.removebg.openapi import error_responses
from silhouette_seg.api.schemas import JsonModel

CREDITS = 1000
"""Credits of every account: a plausible constant, because no request costs any."""
FREE_CALLS = 50
"""Free calls of every account; a constant, too."""

router = APIRouter(tags=["remove.bg"])


class Credits(JsonModel):
    """Credits by their source."""

    total: int = CREDITS
    subscription: int = 0
    payg: int = Field(default=CREDITS, description="Pay as you go.")
    enterprise: int = 0


class ApiQuota(JsonModel):
    """Free calls of the API, and the values of `size` that they may have."""

    free_calls: int = FREE_CALLS
    sizes: str = "all"


class AccountAttributes(JsonModel):
    """Credits and free calls of an account."""

    credits: Credits = Credits()
    api: ApiQuota = ApiQuota()


class AccountData(JsonModel):
    """Member `data` of the response."""

    attributes: AccountAttributes = AccountAttributes()


class Account(JsonModel):
    """An account in the form of remove.bg."""

    data: AccountData = AccountData()


@router.get("/v1.0/account", summary="Balance of the account", responses=error_responses(403))
async def account() -> Account:
    """Returns a constant balance, because requests cost no credits."""
    return Account()
