"""Sessions: kinds of photos and results, options, close, threads and forks."""

import gc
import io
import os
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import silhouette_seg
from silhouette_seg import Session
from silhouette_seg.errors import EngineFailed, ForegroundMissing, InvalidArgument, ModelFailed
from silhouette_seg.library import images
from tests.support.images import make_jpeg, make_png, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model

RGB = quadrants()
PNG = make_png(RGB)
SHAPES = {"segment": (64, 96), "cut_out": (64, 96, 4), "composite": (64, 96, 3)}
MODES = {"segment": "L", "cut_out": "RGBA", "composite": "RGB"}


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "photo.png").write_bytes(PNG)
    return tmp_path / "photo.png"


@pytest.mark.parametrize("name", SHAPES)
def test_result_is_of_the_kind_of_the_photo(session, path, name):
    function = getattr(session, name)
    array = function(RGB)
    assert (array.dtype, array.shape) == (np.uint8, SHAPES[name])
    image = function(Image.fromarray(RGB))
    assert (image.mode, image.size) == (MODES[name], (96, 64))
    with path.open("rb") as file:
        bodies = [function(photo) for photo in (path, str(path), PNG, bytearray(PNG), file)]
    assert len(set(bodies)) == 1
    for pixels in (image, Image.open(io.BytesIO(bodies[0]))):
        assert np.array_equal(np.asarray(pixels), array)


@pytest.mark.parametrize("as_", ["bytes", "pil", "numpy"])
def test_result_is_of_the_kind_that_is_asked_for(session, path, as_):
    expected = {"bytes": bytes, "pil": Image.Image, "numpy": np.ndarray}[as_]
    for photo in (path, Image.fromarray(RGB), RGB):
        assert isinstance(session.cut_out(photo, as_=as_), expected)


@pytest.mark.parametrize(
    ("array", "equal"),
    [
        (RGB / 255, RGB),
        ((RGB / 255).astype(np.float32), RGB),
        (RGB.astype(np.uint16) * 257, RGB),
        (RGB[..., 0], np.dstack([RGB[..., 0]] * 3)),
        (RGB[..., :1], np.dstack([RGB[..., 0]] * 3)),
        (np.asfortranarray(RGB), RGB),
        (RGB[::-1, ::-1], np.ascontiguousarray(RGB[::-1, ::-1])),
        (np.dstack([RGB, np.full((64, 96), 255, np.uint8)]), RGB),
    ],
    ids=["float64", "float32", "uint16", "grey", "one channel", "columns", "view", "opaque"],
)
def test_array_is_the_photo_that_is_documented(session, array, equal):
    assert np.array_equal(session.composite(array), session.composite(equal))


@pytest.mark.parametrize("name", SHAPES)
def test_photo_and_background_in_memory_are_unchanged(session, name):
    array, image = RGB.copy(), Image.fromarray(RGB)
    options = {"background": RGB.copy(), "light_wrap": 50} if name == "composite" else {}
    for photo in (array, image):
        getattr(session, name)(photo, **options)
        assert np.array_equal(np.asarray(photo), RGB)
    if options:
        assert np.array_equal(options["background"], RGB)


def test_read_only_array_is_a_photo(session):
    array = RGB.copy()
    array.flags.writeable = False
    assert session.composite(array).flags.writeable


def test_alpha_of_an_array_is_respected(session):
    half = np.zeros((64, 96), np.uint8)
    half[:, 48:] = 255
    alpha = session.cut_out(np.dstack([RGB, half]))[..., 3]
    assert not alpha[:, :40].any()


BAD_PHOTOS = {
    "nothing": None,
    "number": 3,
    "list": [[0, 0, 0]],
    "open text": io.StringIO("photo"),
    "no bytes": b"",
    "text file": b"This is no photo.",
    "URL": "https://example.com/photo.jpg",
    "empty path": "",
    "bool": np.zeros((4, 4), bool),
    "int64": np.zeros((4, 4, 3), int),
    "complex": np.zeros((4, 4), complex),
    "objects": np.full((4, 4), None),
    "floats over 1": np.full((4, 4, 3), 255.0),
    "negative floats": np.full((4, 4), -0.1),
    "NaN": np.full((4, 4), np.nan),
    "infinity": np.full((4, 4), np.inf),
    "no rows": np.zeros((0, 4, 3), np.uint8),
    "no axes": np.zeros((), np.uint8),
    "channels first": np.zeros((3, 64, 64), np.uint8),
    "batch": np.zeros((1, 64, 64, 3), np.uint8),
    "two channels": np.zeros((64, 64, 2), np.uint8),
    "huge": np.broadcast_to(np.uint8(0), (10_000, 10_000)),
    "long": np.zeros((1, 17_000), np.uint8),
    "narrow": np.zeros((1, 100), np.uint8),
    "empty image": Image.new("RGB", (0, 5)),
    "huge image": Image.new("1", (10_000, 10_000)),
    "float image": Image.new("F", (4, 4)),
    "int32 image": Image.new("I", (4, 4)),
}


@pytest.mark.parametrize("name", BAD_PHOTOS)
def test_photo_that_cannot_be_used_raises_error_with_its_argument(session, name):
    with pytest.raises(InvalidArgument, match=r"^photo: ") as invalid:
        session.segment(BAD_PHOTOS[name])
    assert invalid.value.argument == "photo"
    background = 3 if BAD_PHOTOS[name] is None else BAD_PHOTOS[name]
    with pytest.raises(InvalidArgument, match=r"^background: "):
        session.composite(RGB, background=background)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no endless file")
def test_endless_file_is_not_read_whole(session, monkeypatch):
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 1000)
    with pytest.raises(InvalidArgument, match=r"^photo: has more than 1000 bytes$"):
        session.segment("/dev/zero")


def test_error_of_a_size_has_limit_and_actual_value(session):
    with pytest.raises(InvalidArgument, match=r"limit is 64000000, not 100000000") as invalid:
        session.segment(BAD_PHOTOS["huge"])
    error = pickle.loads(pickle.dumps(invalid.value))
    assert (error.code, error.limit, error.actual) == ("too_many_pixels", 64_000_000, 100_000_000)
    assert str(error) == str(invalid.value)
    with Session(max_pixels=1000) as small, pytest.raises(InvalidArgument, match="limit is 1000"):
        small.segment(PNG)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"treshold": 0.5}, "treshold"),
        ({"output": "mask"}, "output"),
        ({"as_": "PIL"}, "as_"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"grow": 1.5}, "grow"),
        ({"grow": True}, "grow"),
        ({"feather": [1]}, "feather"),
        ({"crop": "perhaps"}, "crop"),
        ({"model": "absent"}, "model"),
        ({"model": "connectnet", "domain": "head_shot"}, "domain"),
        ({"background": "teal"}, "background"),
        ({"background": RGB}, "background"),
        ({"light_wrap": 10}, "light_wrap"),
        ({"crop_margin": 10}, "crop_margin"),
        ({"as_": "bytes", "format": "jpeg"}, "format"),
        ({"as_": "bytes", "format": "gif"}, "format"),
        ({"format": "png"}, "format"),
        ({"keep_metadata": True}, "keep_metadata"),
        ({"as_": "bytes", "keep_metadata": True}, "keep_metadata"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_option_that_cannot_be_used_raises_error_with_its_name(session, options, argument):
    with pytest.raises(InvalidArgument, match=f"^{argument}: ") as invalid:
        session.cut_out(RGB, **options)
    assert invalid.value.argument == argument


def test_session_returns_trimap_with_its_band(repository):
    with Session(model_repository=repository, trimap_band=5) as session:
        trimap = session.run(RGB, "trimap").image
        assert set(np.unique(trimap)) == {0, 128, 255}
        assert (trimap == 128).sum() > (
            session.run(RGB, "trimap", trimap_band=1).image == 128
        ).sum()
        assert session.run(RGB, "trimap").blurred_faces is None


def test_option_of_the_session_applies_where_it_has_an_effect(repository):
    options = {"background": "#0000ff", "format": "webp", "threshold": 0.5, "invert": True}
    with Session(model_repository=repository, **options) as session:
        assert session.segment(RGB)[0, 0] == 0  # red is person, and inverted
        assert session.segment(RGB, invert=None)[0, 0] == 255
        assert session.segment(RGB, invert=False)[0, 0] == 255
        assert session.composite(RGB)[0, 0].tolist() == [0, 0, 255]
        assert session.composite(RGB, background="#00ff00")[0, 0].tolist() == [0, 255, 0]
        assert Image.open(io.BytesIO(session.cut_out(PNG))).format == "WEBP"
    with pytest.raises(InvalidArgument, match=r"^treshold: "):
        Session(treshold=0.5)


def test_run_returns_facts_about_the_person(session):
    result = session.run(RGB, "cutout", crop=True)
    assert (result.model, result.foreground, result.domain) == (
        "md_trisenet",
        True,
        "head_shot",
    )
    assert result.box is not None
    assert result.image.shape == (result.box.height, result.box.width, 4)
    assert 0 < result.coverage < 1
    empty = session.run(np.zeros((64, 96), np.uint8))
    assert (empty.foreground, empty.box, empty.image.max()) == (False, None, 0)
    with pytest.raises(ForegroundMissing):
        session.segment(np.zeros((64, 96), np.uint8), require_foreground=True)
    with pytest.raises(InvalidArgument, match=r"^output: "):
        session.run(RGB, "cut_out")


def test_fault_of_a_file_is_a_warning(session):
    cut = make_jpeg(RGB)[:-2]
    assert "end" in (session.run(cut).warning or "")


def test_metadata_of_a_file_is_kept_on_request(session):
    photo = make_jpeg(RGB, dpi=(300, 300))
    body = session.cut_out(photo, keep_metadata=True)
    assert round(Image.open(io.BytesIO(body)).info["dpi"][0]) == 300
    assert "dpi" not in Image.open(io.BytesIO(session.cut_out(photo))).info


def test_close_releases_the_models(repository):
    session = Session(model_repository=repository)
    session.segment(RGB)
    segmenter = weakref.ref(session._segmenter)
    session.close()
    gc.collect()
    assert segmenter() is None


def test_closed_session_raises_runtime_error(repository):
    session = Session(model_repository=repository)
    session.segment(RGB)
    session.close()
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.segment(RGB)


def test_damaged_model_raises_engine_failed(tmp_path):
    spec = write_tiny_model(tmp_path, tiny_spec())
    spec.model_file(tmp_path).write_bytes(b"damaged")
    with Session(model_repository=tmp_path) as session, pytest.raises(EngineFailed):
        session.segment(RGB)


def test_model_without_a_spec_raises_its_reason(tmp_path):
    write_tiny_model(tmp_path, tiny_spec())
    (tmp_path / "connectnet" / "spec.json").unlink()
    with pytest.raises(ModelFailed, match=r"^connectnet is not available: spec\.json is missing"):
        Session(model_repository=tmp_path)


def test_session_opens_only_the_models_it_uses(tmp_path):
    for name in ("connectnet", "rcrnet"):
        write_tiny_model(tmp_path, tiny_spec(name))
    (tmp_path / "rcrnet/1/model.onnx").write_bytes(b"damaged")
    with Session(model_repository=tmp_path, model="connectnet") as session:
        session.segment(RGB)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_session_works_in_a_forked_process(session):
    expected = session.segment(PNG)
    child = os.fork()
    if child == 0:
        os._exit(0 if session.segment(PNG) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_functions_share_one_session():
    shared = {getattr(silhouette_seg, name).__self__ for name in SHAPES}
    assert len(shared) == 1
    assert isinstance(shared.pop(), Session)


def test_photo_changes_no_default_of_the_process(repository):
    code = f"""
import cv2
from PIL import AvifImagePlugin, Image
from silhouette_seg import Session

def defaults():
    threads, log = cv2.getNumThreads(), cv2.utils.logging.getLogLevel()
    return threads, log, Image.MAX_IMAGE_PIXELS, AvifImagePlugin.DEFAULT_MAX_THREADS

before = defaults()
Session(model_repository={str(repository)!r}).cut_out(Image.new("RGB", (64, 64)))
assert defaults() == before, defaults()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_of_the_functions_loads_no_image_library():
    code = (
        "import sys; from silhouette_seg import Session, composite, cut_out, map_photos, segment;"
        "print(*sys.modules); print(); Session(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"PIL", "asyncio", "cv2", "httpx", "numpy", "onnxruntime", "pydantic", "rich"}
    imported, opened = done.stdout.split("\n\n")
    assert not heavy & set(imported.split())
    assert "onnxruntime" not in opened.split()
