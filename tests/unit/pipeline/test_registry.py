import asyncio
from pathlib import Path

import numpy as np
import pytest

from silhouette_seg.engine import open_engine
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import EngineFailed, ModelFailed, Overloaded, UnknownModel
from silhouette_seg.pipeline.domain_router import FaceRouter
from silhouette_seg.pipeline.registry import PHOTO_PREFERENCE, ModelRegistry, load_registry
from silhouette_seg.pipeline.segmenter import Segmenter
from tests.support.fakes import RecordingEngine
from tests.support.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture
def registry_of(workers):
    def make(*names: str) -> ModelRegistry:
        return ModelRegistry(
            [Segmenter(FakeEngine(tiny_spec(name)), workers) for name in names], workers
        )

    return make


def test_registry_finds_models_by_name(registry_of):
    registry = registry_of("connectnet", "rcrnet")
    assert registry.names == ("connectnet", "rcrnet")
    assert registry.get("rcrnet").spec.name == "rcrnet"
    assert [segmenter.spec.name for segmenter in registry] == ["connectnet", "rcrnet"]


def test_auto_selects_the_first_preferred_model_served(registry_of):
    for preferred in PHOTO_PREFERENCE:
        later = PHOTO_PREFERENCE[PHOTO_PREFERENCE.index(preferred) + 1 :]
        registry = registry_of("another", *later, preferred)
        assert registry.get("auto").spec.name == preferred
        assert registry.get() is registry.get("auto")


def test_auto_selects_the_first_model_without_preferred_ones(registry_of):
    assert registry_of("one", "two").get("auto").spec.name == "one"


@pytest.mark.parametrize("name", ["missing", "", "face_detector"])
def test_unknown_model_error_names_the_known_models(registry_of, name):
    with pytest.raises(UnknownModel) as caught:
        registry_of("one", "two").get(name)
    assert "one, two" in caught.value.detail


async def test_registry_is_ready_after_warming_up_every_model(workers):
    engines = [FakeEngine(tiny_spec(name)) for name in ("one", "two")]
    registry = ModelRegistry([Segmenter(engine, workers) for engine in engines], workers)
    assert not registry.ready
    await registry.warm_up()
    assert registry.ready
    assert [set(engine.batch_sizes) for engine in engines] == [{1}, {1}]
    await registry.close()
    assert not registry.ready


async def test_warm_up_runs_the_detector_and_the_model(workers):
    engine, detector = FakeEngine(tiny_spec("md_trisenet")), FakeEngine(tiny_spec("face_detector"))
    faces = FaceRouter(detector, workers)
    await ModelRegistry([Segmenter(engine, workers, faces)], workers, faces).warm_up()
    assert set(engine.batch_sizes) == {1}
    assert detector.batch_sizes == [1, 1]


@pytest.mark.parametrize(("names", "ready"), [((), True), (("connectnet", "face_detector"), False)])
async def test_registry_needs_the_detector_only_if_named(workers, names, ready):
    detector = FakeEngine(tiny_spec("face_detector"))
    detector.fail_next(EngineFailed("broken"))
    segmenters = [Segmenter(FakeEngine(tiny_spec()), workers)]
    registry = ModelRegistry(segmenters, workers, FaceRouter(detector, workers), named=names)
    assert list(await registry.warm_up()) == ["face_detector"]
    assert registry.ready is ready


async def test_warm_up_photo_is_not_uniform(workers):
    engine = RecordingEngine(tiny_spec())
    await ModelRegistry([Segmenter(engine, workers)], workers).warm_up()
    assert engine.inputs[-1]["image"].std() > 20


async def test_registry_is_not_ready_if_a_model_fails(workers):
    engine = FakeEngine(tiny_spec())
    engine.fail_next(EngineFailed("broken"))
    registry = ModelRegistry([Segmenter(engine, workers)], workers)
    await registry.warm_up()
    assert not registry.ready
    assert registry.tried
    with pytest.raises(ModelFailed, match="connectnet is not available: broken"):
        registry.get()


async def test_model_with_a_full_queue_stays_cold(workers):
    engine = FakeEngine(tiny_spec())
    engine.fail_next(Overloaded("Too many images are waiting"))
    registry = ModelRegistry([Segmenter(engine, workers)], workers)
    assert list(await registry.warm_up()) == ["connectnet"]
    assert (registry.cold, registry.failures) == (("connectnet",), {})
    assert await registry.warm_up() == {}
    assert registry.ready


async def test_registry_close_closes_every_engine(workers):
    engines = [FakeEngine(tiny_spec(name)) for name in ("one", "two", "face_detector")]
    segmenters = [Segmenter(engine, workers) for engine in engines[:2]]
    await ModelRegistry(segmenters, workers, FaceRouter(engines[2], workers)).close()
    for engine in engines:
        with pytest.raises(EngineFailed):
            await engine.infer({"image": np.zeros((1, *engine.spec.size_hw, 3), np.uint8)})


class TestRepository:
    @pytest.fixture
    def repository(self, tmp_path):
        for name in ("rcrnet", "connectnet"):
            write_tiny_model(tmp_path, tiny_spec(name))
        (tmp_path / "notes").mkdir()
        return tmp_path

    @pytest.fixture
    def opened(self, repository, workers):
        def load_models(models: tuple[str, ...] | None = None) -> ModelRegistry:
            return load_registry(
                repository, models, workers, lambda spec: open_engine("onnx", spec, repository)
            )

        return load_models

    async def test_repository_serves_every_folder_with_a_spec(self, opened):
        registry = opened()
        assert registry.names == ("connectnet", "rcrnet")
        await registry.warm_up()
        await registry.close()

    def test_repository_serves_only_the_selected_models(self, opened):
        assert opened(("rcrnet",)).names == ("rcrnet",)

    def test_unknown_model_names_the_known_ones(self, opened):
        with pytest.raises(ValueError, match="no model missing; available: connectnet, rcrnet"):
            opened(("connectnet", "missing"))

    def test_empty_repository_raises_a_value_error(self, tmp_path, workers):
        with pytest.raises(ValueError, match="no model"):
            load_registry(tmp_path, None, workers, FakeEngine)

    def test_models_that_load_are_served_without_the_broken(self, repository, opened):
        (repository / "rcrnet" / "1" / "model.onnx").write_bytes(b"no graph")
        registry = opened()
        assert registry.names == ("connectnet",)
        assert "digest" in registry.failures["rcrnet"]
        assert registry.required == {"rcrnet"}

    async def test_broken_model_that_is_not_required_leaves_the_registry_ready(
        self, repository, opened
    ):
        (repository / "connectnet" / "spec.json").unlink()
        registry = opened()
        await registry.warm_up()
        assert registry.ready
        assert registry.failures == {"connectnet": "spec.json is missing"}
        assert registry.get_for_stream().spec.name == "rcrnet"
        await registry.close()

    def test_missing_device_is_no_fault_of_a_model(self, repository, workers):
        def open_engine_on_missing_device(spec):
            error = EngineFailed("no GPU")
            error.of_device = True
            raise error

        with pytest.raises(EngineFailed, match="no GPU"):
            load_registry(repository, None, workers, open_engine_on_missing_device)


async def test_stuck_model_that_is_not_required_delays_no_other(workers):
    engines = {name: FakeEngine(tiny_spec(name)) for name in ("connectnet", "stuck")}
    engines["stuck"].gate.clear()
    registry = ModelRegistry([Segmenter(engine, workers) for engine in engines.values()], workers)
    warm_up = asyncio.create_task(registry.warm_up())
    await engines["stuck"].wait_for_batches(1)
    assert registry.ready
    assert registry.cold == ("stuck",)
    engines["stuck"].gate.set()
    await warm_up
    assert registry.cold == ()


class TestFaceDetector:
    """The face detector is loaded for models with a domain and cannot be requested."""

    @pytest.fixture
    def repository(self, tmp_path):
        for name in ("connectnet", "md_trisenet", "face_detector"):
            write_tiny_model(tmp_path, tiny_spec(name))
        return tmp_path

    @pytest.fixture
    def opened(self, workers):
        def load_models(repository: Path, *models: str) -> ModelRegistry:
            return load_registry(repository, models or None, workers, FakeEngine)

        return load_models

    def test_face_detector_is_listed_last_and_routes_models_with_domain(
        self, repository, opened, caplog
    ):
        registry = opened(repository)
        assert served(registry) == ["connectnet", "md_trisenet", "face_detector"]
        assert registry.names == ("connectnet", "md_trisenet")
        md_trisenet, connectnet = registry.get("md_trisenet"), registry.get("connectnet")
        assert md_trisenet.face_router(find_faces=False) is registry.models[-1]
        assert connectnet.face_router(find_faces=True) is registry.models[-1]
        assert connectnet.face_router(find_faces=False) is None
        assert caplog.text == ""

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (["md_trisenet"], ["md_trisenet", "face_detector"]),
            (["connectnet"], ["connectnet"]),
            (["face_detector", "connectnet"], ["connectnet", "face_detector"]),
        ],
    )
    def test_face_detector_is_added_for_models_with_domain(
        self, repository, opened, names, expected
    ):
        assert served(opened(repository, *names)) == expected

    def test_face_detector_alone_raises_a_value_error(self, repository, opened):
        with pytest.raises(ValueError, match="no segmentation model"):
            opened(repository, "face_detector")

    def test_missing_face_detector_logs_one_warning(self, tmp_path, opened, caplog):
        write_tiny_model(tmp_path, tiny_spec("md_trisenet"))
        assert served(opened(tmp_path)) == ["md_trisenet"]
        (record,) = caplog.records
        assert "md_trisenet takes a domain and there is no face_detector" in record.getMessage()

    @pytest.mark.parametrize("swap", [("face_detector", "other"), ("other", "face_detector")])
    def test_face_output_of_another_model_is_a_failure(self, tmp_path, opened, swap):
        kind, name = swap
        write_tiny_model(tmp_path, tiny_spec(kind).model_copy(update={"name": name}))
        assert "face_detector alone has faces" in opened(tmp_path).failures[name]

    def test_broken_detector_is_required_by_a_required_model_with_domain(self, repository, opened):
        (repository / "face_detector" / "spec.json").write_text("{}")
        registry = opened(repository)
        assert registry.auto == "md_trisenet"
        assert registry.required == {"md_trisenet", "face_detector"}


def served(registry: ModelRegistry) -> list[str]:
    return [model.spec.name for model in registry.models]
