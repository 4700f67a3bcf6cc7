"""Arguments of sessions and functions: checks at once, the words of errors, and `help`."""

import inspect
import io
import re

import numpy as np
import pytest

import silhouette_seg
from silhouette_seg import Session
from silhouette_seg.errors import InvalidArgument, ModelFailed
from silhouette_seg.library.options import Options
from tests.support.images import make_png, quadrants

RGB = quadrants()
PNG = make_png(RGB)


@pytest.mark.parametrize(
    ("named", "argument"),
    [
        ({"device": "gpu"}, "device"),
        ({"max_pixels": 0}, "max_pixels"),
        ({"max_pixels": 1e6}, "max_pixels"),
        ({"model_repository": "/absent"}, "model_repository"),
        ({"model_repository": 3}, "model_repository"),
        ({"model": "u2net"}, "model"),
        ({"model": "connectnet", "domain": "head_shot"}, "domain"),
        ({"threshold": 2}, "threshold"),
        ({"background": 3}, "background"),
        ({"background": b"text"}, "background"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_argument_that_cannot_be_used_fails_when_the_session_is_made(repository, named, argument):
    with pytest.raises(InvalidArgument, match=f"^{argument}: "):
        Session(**{"model_repository": repository} | named)


def test_folder_without_models_fails_when_the_session_is_made(tmp_path, repository):
    for folder, reason in ((tmp_path, "contains no model"), (repository / "connectnet", "of one")):
        with pytest.raises(InvalidArgument, match=f"^model_repository: .* {reason}"):
            Session(model_repository=folder)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/spec.json").write_text("{}")
    with pytest.raises(ModelFailed, match="damaged is not available"):
        Session("damaged", model_repository=tmp_path)


def test_model_may_be_the_first_argument_of_a_session(repository):
    with Session("connectnet", model_repository=repository) as session:
        assert session.run(RGB).model == "connectnet"
    with pytest.raises(
        InvalidArgument, match="model: Unknown model 'u2net'; available: connectnet"
    ):
        Session("u2net", model_repository=repository)


def test_background_file_of_a_session_serves_every_call(repository):
    wall = np.full((8, 8, 3), (1, 2, 3), np.uint8)
    with Session(model_repository=repository, background=io.BytesIO(make_png(wall))) as session:
        for _ in range(2):
            assert np.array_equal(session.composite(RGB), session.composite(RGB, background=wall))


@pytest.mark.parametrize(
    ("background", "hint"),
    [
        ("beach.jpg", "an image is given as a pathlib.Path, bytes"),
        ((1, 2, 3), "must be text such as '#20639b', a path"),
        ({"background_image": PNG}, "background takes images and colours"),
    ],
    ids=["path as text", "tuple", "name of the API"],
)
def test_wrong_background_has_an_error_with_advice(session, background, hint):
    options = background if isinstance(background, dict) else {"background": background}
    with pytest.raises(InvalidArgument, match=hint):
        session.composite(RGB, **options)


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        ("segment", {"background": "teal"}, "background: needs composite()"),
        ("cut_out", {"crop_margin": 5}, "crop_margin: needs crop=True"),
        ("composite", {"trimap_band": 5}, 'trimap_band: needs Session.run(photo, "trimap")'),
        (
            "composite",
            {"background": "blur_faces", "invert": True},
            "invert: has no effect with background='blur_faces'",
        ),
        ("cut_out", {"as_": "bytes", "format": "jpeg"}, "webp or avif, or for composite()."),
        ("segment", {"faces": True}, "faces: has an effect on Session.run alone"),
    ],
)
def test_error_spells_options_as_python_does(session, call, options, message):
    with pytest.raises(InvalidArgument, match=f"{re.escape(message)}$"):
        getattr(session, call)(RGB, **options)


def test_run_lists_people_and_faces_on_request(session):
    result = session.run(RGB, masks="rle", faces=True)
    assert sum(person.area for person in result.people) == (result.image > 127).sum()
    assert {type(person.segmentation) for person in result.people} == {str}
    assert 0 < result.faces[0].score <= 1
    assert 0 < result.faces[0].box.height <= 64
    assert (session.run(RGB).people, session.run(RGB).faces) == (None, None)


def test_help_of_a_function_lists_its_options():
    absent = {"segment": {"background", "light_wrap", "trimap_band"}, "composite": {"trimap_band"}}
    for name, without in (absent | {"cut_out": absent["segment"]}).items():
        function = getattr(silhouette_seg, name)
        shown = set(inspect.signature(function).parameters)
        assert shown == {"photo", "as_", *Options.__annotations__} - without - {"masks", "faces"}
        assert "grow (-100 to 100; by default 0): Moves the edge outwards" in function.__doc__
