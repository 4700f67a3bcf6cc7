from pathlib import Path

import numpy as np
import pytest

from silhouette_seg.engine import open_engine
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import EngineFailed, UnknownModel
from silhouette_seg.pipeline.domain_router import FaceRouter
from silhouette_seg.pipeline.registry import FOR_PHOTOS, Catalog, open_catalog
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from tests.support.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture(scope="module")
def workers():
    pool = ThreadPool(2)
    yield pool
    pool.close()


@pytest.fixture
def catalog_of(workers):
    def make(*names: str) -> Catalog:
        return Catalog([Segmenter(FakeEngine(tiny_spec(name)), workers) for name in names], workers)

    return make


def test_models_by_name(catalog_of):
    catalog = catalog_of("connectnet", "rcrnet")
    assert catalog.names == ("connectnet", "rcrnet")
    assert catalog.get("rcrnet").spec.name == "rcrnet"
    assert [segmenter.spec.name for segmenter in catalog] == ["connectnet", "rcrnet"]


def test_auto_is_the_first_for_photos_that_is_served(catalog_of):
    for preferred in FOR_PHOTOS:
        later = FOR_PHOTOS[FOR_PHOTOS.index(preferred) + 1 :]
        catalog = catalog_of("another", *later, preferred)
        assert catalog.get("auto").spec.name == preferred
        assert catalog.get() is catalog.get("auto")


def test_auto_is_the_first_model_when_none_is_preferred(catalog_of):
    assert catalog_of("one", "two").get("auto").spec.name == "one"


@pytest.mark.parametrize("name", ["nobody", "", "face_detector"])
def test_an_unknown_model_names_those_there_are(catalog_of, name):
    with pytest.raises(UnknownModel) as caught:
        catalog_of("one", "two").get(name)
    assert "one, two" in caught.value.detail


async def test_ready_only_after_every_model_was_warmed_up(workers):
    engines = [FakeEngine(tiny_spec(name)) for name in ("one", "two")]
    catalog = Catalog([Segmenter(engine, workers) for engine in engines], workers)
    assert not catalog.ready
    await catalog.warm_up()
    assert catalog.ready
    assert [set(engine.batch_sizes) for engine in engines] == [{1}, {1}]
    await catalog.close()
    assert not catalog.ready


async def test_warm_up_takes_the_whole_path_of_a_model_that_routes(workers):
    engine, detector = FakeEngine(tiny_spec("md_trisenet")), FakeEngine(tiny_spec("face_detector"))
    faces = FaceRouter(detector, workers)
    await Catalog([Segmenter(engine, workers, faces)], workers, faces).warm_up()
    assert set(engine.batch_sizes) == {1}
    assert detector.batch_sizes == [1, 1]


async def test_a_detector_that_fails_its_warm_up_is_not_ready(workers):
    detector = FakeEngine(tiny_spec("face_detector"))
    detector.fail_next(EngineFailed("broken"))
    segmenters = [Segmenter(FakeEngine(tiny_spec()), workers)]
    catalog = Catalog(segmenters, workers, FaceRouter(detector, workers))
    with pytest.raises(EngineFailed):
        await catalog.warm_up()
    assert not catalog.ready


async def test_warm_up_is_a_real_photo(workers):
    class Watched(FakeEngine):
        async def infer(self, inputs):
            self.seen = inputs["image"]
            return await super().infer(inputs)

    engine = Watched(tiny_spec())
    await Catalog([Segmenter(engine, workers)], workers).warm_up()
    assert engine.seen.std() > 20


async def test_a_model_that_fails_its_warm_up_is_not_ready(workers):
    engine = FakeEngine(tiny_spec())
    engine.fail_next(EngineFailed("broken"))
    catalog = Catalog([Segmenter(engine, workers)], workers)
    with pytest.raises(EngineFailed):
        await catalog.warm_up()
    assert not catalog.ready


async def test_close_closes_every_engine(workers):
    engines = [FakeEngine(tiny_spec(name)) for name in ("one", "two", "face_detector")]
    segmenters = [Segmenter(engine, workers) for engine in engines[:2]]
    await Catalog(segmenters, workers, FaceRouter(engines[2], workers)).close()
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
        def load_models(models: tuple[str, ...] | None = None) -> Catalog:
            return open_catalog(
                repository, models, workers, lambda spec: open_engine("onnx", spec, repository)
            )

        return load_models

    async def test_holds_every_folder_with_a_spec(self, opened):
        catalog = opened()
        assert catalog.names == ("connectnet", "rcrnet")
        await catalog.warm_up()
        await catalog.close()

    def test_only_the_models_asked_for(self, opened):
        assert opened(("rcrnet",)).names == ("rcrnet",)

    def test_a_missing_model_stops_the_start(self, opened):
        with pytest.raises(OSError, match="nobody"):
            opened(("connectnet", "nobody"))

    def test_an_empty_repository_stops_the_start(self, tmp_path, workers):
        with pytest.raises(ValueError, match="no model"):
            open_catalog(tmp_path, None, workers, FakeEngine)

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
            open_catalog(tmp_path, None, workers, FakeEngine)


class TestFaceDetector:
    """It comes with the models that route by faces and is none to ask for."""

    @pytest.fixture
    def repository(self, tmp_path):
        for name in ("connectnet", "md_trisenet", "face_detector"):
            write_tiny_model(tmp_path, tiny_spec(name))
        return tmp_path

    @pytest.fixture
    def opened(self, workers):
        def load_models(repository: Path, *models: str) -> Catalog:
            return open_catalog(repository, models or None, workers, FakeEngine)

        return load_models

    def test_is_served_after_the_models_and_routes_for_those_that_take_a_domain(
        self, repository, opened, caplog
    ):
        catalog = opened(repository)
        assert served(catalog) == ["connectnet", "md_trisenet", "face_detector"]
        assert catalog.names == ("connectnet", "md_trisenet")
        assert catalog.get("md_trisenet").faces is catalog.served[-1]
        assert catalog.get("connectnet").faces is None
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


def served(catalog: Catalog) -> list[str]:
    return [model.spec.name for model in catalog.served]
