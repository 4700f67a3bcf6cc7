from pathlib import Path

import numpy as np
import pytest

from silhouette_seg.engine import open_engine
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import EngineFailed, UnknownModel
from silhouette_seg.pipeline.domain_router import FaceRouter
from silhouette_seg.pipeline.registry import PHOTO_PREFERENCE, ModelRegistry, load_registry
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from tests.support.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture(scope="module")
def workers():
    pool = ThreadPool(2)
    yield pool
    pool.close()


@pytest.fixture
def registry_of(workers):
    def make(*names: str) -> ModelRegistry:
        return ModelRegistry(
            [Segmenter(FakeEngine(tiny_spec(name)), workers) for name in names], workers
        )

    return make


def test_models_by_name(registry_of):
    registry = registry_of("connectnet", "rcrnet")
    assert registry.names == ("connectnet", "rcrnet")
    assert registry.get("rcrnet").spec.name == "rcrnet"
    assert [segmenter.spec.name for segmenter in registry] == ["connectnet", "rcrnet"]


def test_auto_is_the_first_for_photos_that_is_served(registry_of):
    for preferred in PHOTO_PREFERENCE:
        later = PHOTO_PREFERENCE[PHOTO_PREFERENCE.index(preferred) + 1 :]
        registry = registry_of("another", *later, preferred)
        assert registry.get("auto").spec.name == preferred
        assert registry.get() is registry.get("auto")


def test_auto_is_the_first_model_when_none_is_preferred(registry_of):
    assert registry_of("one", "two").get("auto").spec.name == "one"


@pytest.mark.parametrize("name", ["nobody", "", "face_detector"])
def test_an_unknown_model_names_those_there_are(registry_of, name):
    with pytest.raises(UnknownModel) as caught:
        registry_of("one", "two").get(name)
    assert "one, two" in caught.value.detail


async def test_ready_only_after_every_model_was_warmed_up(workers):
    engines = [FakeEngine(tiny_spec(name)) for name in ("one", "two")]
    registry = ModelRegistry([Segmenter(engine, workers) for engine in engines], workers)
    assert not registry.ready
    await registry.warm_up()
    assert registry.ready
    assert [set(engine.batch_sizes) for engine in engines] == [{1}, {1}]
    await registry.close()
    assert not registry.ready


async def test_warm_up_takes_the_whole_path_of_a_model_that_routes(workers):
    engine, detector = FakeEngine(tiny_spec("md_trisenet")), FakeEngine(tiny_spec("face_detector"))
    faces = FaceRouter(detector, workers)
    await ModelRegistry([Segmenter(engine, workers, faces)], workers, faces).warm_up()
    assert set(engine.batch_sizes) == {1}
    assert detector.batch_sizes == [1, 1]


async def test_a_detector_that_fails_its_warm_up_is_not_ready(workers):
    detector = FakeEngine(tiny_spec("face_detector"))
    detector.fail_next(EngineFailed("broken"))
    segmenters = [Segmenter(FakeEngine(tiny_spec()), workers)]
    registry = ModelRegistry(segmenters, workers, FaceRouter(detector, workers))
    with pytest.raises(EngineFailed):
        await registry.warm_up()
    assert not registry.ready


async def test_warm_up_is_a_real_photo(workers):
    class Watched(FakeEngine):
        async def infer(self, inputs):
            self.seen = inputs["image"]
            return await super().infer(inputs)

    engine = Watched(tiny_spec())
    await ModelRegistry([Segmenter(engine, workers)], workers).warm_up()
    assert engine.seen.std() > 20


async def test_a_model_that_fails_its_warm_up_is_not_ready(workers):
    engine = FakeEngine(tiny_spec())
    engine.fail_next(EngineFailed("broken"))
    registry = ModelRegistry([Segmenter(engine, workers)], workers)
    with pytest.raises(EngineFailed):
        await registry.warm_up()
    assert not registry.ready


async def test_close_closes_every_engine(workers):
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

    async def test_holds_every_folder_with_a_spec(self, opened):
        registry = opened()
        assert registry.names == ("connectnet", "rcrnet")
        await registry.warm_up()
        await registry.close()

    def test_only_the_models_asked_for(self, opened):
        assert opened(("rcrnet",)).names == ("rcrnet",)

    def test_a_missing_model_stops_the_start(self, opened):
        with pytest.raises(OSError, match="nobody"):
            opened(("connectnet", "nobody"))

    def test_an_empty_repository_stops_the_start(self, tmp_path, workers):
        with pytest.raises(ValueError, match="no model"):
            load_registry(tmp_path, None, workers, FakeEngine)

    def test_a_spec_of_another_model_stops_the_start(self, repository, opened):
        (repository / "rcrnet").rename(repository / "moved")
        with pytest.raises(ValueError, match="rcrnet"):
            opened(("moved",))

    @pytest.mark.parametrize("text", ["{}", "not json"])
    def test_a_broken_spec_stops_the_start(self, repository, opened, text):
        (repository / "rcrnet" / "spec.json").write_text(text)
        with pytest.raises(ValueError, match="ModelSpec"):
            opened()

    def test_no_model_may_be_called_auto(self, tmp_path, workers):
        write_tiny_model(tmp_path, tiny_spec("auto"))
        with pytest.raises(ValueError, match="auto"):
            load_registry(tmp_path, None, workers, FakeEngine)


class TestFaceDetector:
    """It comes with the models that route by faces and is none to ask for."""

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

    def test_is_served_after_the_models_and_routes_for_those_that_take_a_domain(
        self, repository, opened, caplog
    ):
        registry = opened(repository)
        assert served(registry) == ["connectnet", "md_trisenet", "face_detector"]
        assert registry.names == ("connectnet", "md_trisenet")
        assert registry.get("md_trisenet").face_router is registry.models[-1]
        assert registry.get("connectnet").face_router is None
        assert caplog.text == ""

    @pytest.mark.parametrize(
        ("asked", "there"),
        [
            (["md_trisenet"], ["md_trisenet", "face_detector"]),
            (["connectnet"], ["connectnet"]),
            (["face_detector", "connectnet"], ["connectnet", "face_detector"]),
        ],
    )
    def test_comes_along_with_a_model_that_takes_a_domain(self, repository, opened, asked, there):
        assert served(opened(repository, *asked)) == there

    def test_alone_it_is_nothing_to_serve(self, repository, opened):
        with pytest.raises(ValueError, match="no model to segment with"):
            opened(repository, "face_detector")

    def test_its_absence_is_told_once(self, tmp_path, opened, caplog):
        write_tiny_model(tmp_path, tiny_spec("md_trisenet"))
        assert served(opened(tmp_path)) == ["md_trisenet"]
        (record,) = caplog.records
        assert "md_trisenet routes by faces and there is no face_detector" in record.getMessage()

    @pytest.mark.parametrize("swap", [("face_detector", "other"), ("other", "face_detector")])
    def test_only_the_face_detector_gives_faces(self, tmp_path, opened, swap):
        kind, name = swap
        write_tiny_model(tmp_path, tiny_spec(kind).model_copy(update={"name": name}))
        with pytest.raises(ValueError, match="only face_detector gives faces"):
            opened(tmp_path)


def served(registry: ModelRegistry) -> list[str]:
    return [model.spec.name for model in registry.models]
