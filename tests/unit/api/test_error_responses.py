import json

import pytest
from starlette.types import Scope

from silhouette_seg.api.error_responses import ErrorResponder
from silhouette_seg.api.problem_details import CODE_KEY, problem
from silhouette_seg.errors import BadParameter, BodyTooLarge, Overloaded, ServiceError, Unauthorized


def reversed_shape(error: ServiceError) -> tuple[int, str]:
    return 418, json.dumps({"reversed": error.code[::-1]})


@pytest.fixture
def responder() -> ErrorResponder:
    return ErrorResponder({"/other": reversed_shape})


@pytest.mark.parametrize("path", ["/other", "/other/", "/other/deeper/path"])
def test_error_below_a_prefix_has_the_shape_of_the_prefix(responder, path):
    scope: Scope = {"path": path}
    response = responder.respond(scope, BadParameter("grow: no"))
    assert response.status_code == 418
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.body) == {"reversed": "retemarap_dab"}
    assert scope[CODE_KEY] == "bad_parameter"


@pytest.mark.parametrize("path", ["/", "/otherwise", "/v1/other", "*"])
def test_error_outside_all_prefixes_is_a_problem_document(responder, path):
    scope: Scope = {"path": path}
    response = responder.respond(scope, BadParameter("grow: no"))
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.body)["instance"] == path
    assert scope[CODE_KEY] == "bad_parameter"


@pytest.mark.parametrize("path", ["/other", "/v1/segment"])
def test_error_headers_do_not_depend_on_the_shape(responder, path):
    def headers(error: ServiceError) -> dict[str, str]:
        return dict(responder.respond({"path": path}, error, {"allow": "GET"}).headers)

    assert headers(Overloaded("full", retry_after_s=7))["retry-after"] == "7"
    assert headers(Unauthorized("no key"))["www-authenticate"].startswith("Bearer ")
    assert headers(BodyTooLarge("large", limit=1, actual=2))["connection"] == "close"
    assert headers(BadParameter("grow: no"))["allow"] == "GET"
    assert headers(BadParameter("grow: no"))["cache-control"] == "no-store"


def test_problem_document_cuts_a_long_path():
    document = json.loads(problem({"path": "/" + "x" * 5000}, BadParameter("grow: no")).body)
    assert len(document["instance"]) == 200
