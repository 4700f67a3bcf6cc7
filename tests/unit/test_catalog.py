import numpy as np
import pytest

from service.catalog import Catalog, open_catalog
from service.engine import open_engine
from service.engine.fake import FakeEngine
from service.errors import EngineFailed, UnknownModel
from service.segmenter import Segmenter
from service.workers import Workers
from tests.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture(scope="module")
def workers():
    pool = Workers(2)
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


def test_auto_is_connectnet(catalog_of):
    catalog = catalog_of("another", "connectnet")
    assert catalog.get("auto").spec.name == "connectnet"
    assert catalog.get().spec.name == "connectnet"


def test_auto_is_the_only_model_when_there_is_one(catalog_of):
    assert catalog_of("rcrnet").get("auto").spec.name == "rcrnet"


@pytest.mark.parametrize("name", ["nobody", "", "auto"])
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
    assert [engine.batches for engine in engines] == [[1], [1]]
    await catalog.close()
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
    engines = [FakeEngine(tiny_spec(name)) for name in ("one", "two")]
    await Catalog([Segmenter(engine, workers) for engine in engines], workers).close()
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
        def open_models(models: tuple[str, ...] | None = None) -> Catalog:
            return open_catalog(
                repository, models, workers, lambda spec: open_engine("onnx", spec, repository)
            )

        return open_models

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
