"""Tests of exports: the files of a published model, its figures and its weights."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from silhouette_seg.spec import ResizeRule, load_spec
from tests.support.made_runs import assert_equal_tensors, read_checkpoint, read_history
from tests.support.published import assert_published
from training.data.dataset import read_portraits
from training.evaluation import masks
from training.evaluation.onnx_model import Tensors, open_onnx
from training.export import __main__ as export
from training.models.deployed import DeployedSegmenter


@pytest.fixture(scope="module")
def repository(run, recipe_file, data, tmp_path_factory):
    repository = tmp_path_factory.mktemp("model_repository")
    (repository / "connectnet").mkdir(parents=True)
    (repository / "connectnet" / "NOTES.md").write_text("Kept by hand.\n")
    weights = tmp_path_factory.mktemp("weights")
    export.main(run, recipe=recipe_file, data=data, repository=repository, weights=weights)
    return repository


class TestExport:
    def test_export_writes_a_model_of_the_repository(self, repository):
        assert_published(repository / "connectnet")
        files = {
            str(file.relative_to(repository / "connectnet"))
            for file in repository.rglob("*")
            if file.is_file()
        }
        assert files == {
            "1/model.onnx",
            "CARD.md",
            "NOTES.md",
            "config.pbtxt",
            "configs/cpu.pbtxt",
            "curve.png",
            "spec.json",
        }

    def test_exported_spec_states_training_and_measurements(self, repository, run):
        spec = load_spec(repository / "connectnet")
        assert (spec.name, spec.run, spec.size_hw) == ("connectnet", "made", (32, 40))
        assert spec.resize is ResizeRule.STRETCH
        assert set(spec.metrics) == {"all", "discs", "moons"}
        last = read_history(run)[-1]
        # Training measured with torch: a pixel on the threshold may differ.
        for source, row in spec.metrics.items():
            assert row["miou_image_mean"] == pytest.approx(last[f"val/{source}"], abs=0.1)

    def test_exported_card_contains_the_notes(self, repository):
        card = (repository / "connectnet" / "CARD.md").read_text()
        assert card.endswith("Kept by hand.\n")
        assert "| training run | `made` |" in card, "no file of the project has this recipe"

    def test_exported_spec_contains_the_finite_evaluation_of_its_file(
        self, repository, data, capsys
    ):
        spec = load_spec(repository / "connectnet")
        predict = open_onnx(spec.model_file(repository))
        segment = masks.segmenter_from_model(predict, size_hw=spec.size_hw, resize=spec.resize)
        summaries = masks.evaluate_masks(segment, read_portraits(data, "val"))
        for source, row in summaries.items():
            assert row == pytest.approx(spec.metrics[source], abs=1e-4)
        masks.main(repository / "connectnet", data=data)
        assert f"{summaries['all']['miou_image_mean']:.2f}" in capsys.readouterr().out

    def test_exported_weights_are_the_averaged_ones(self, run, recipe):
        model = export.read_weights(recipe, run / "last.pt")
        assert not model.training
        assert_equal_tensors(model.state_dict(), read_checkpoint(run)["average"])

    def test_several_checkpoints_are_exported_as_their_mean(self, run, recipe, tmp_path):
        state = read_checkpoint(run)["average"]
        other = {
            name: value + 2.0 if value.is_floating_point() else value
            for name, value in state.items()
        }
        torch.save({"average": other}, tmp_path / "other.pt")
        mean = export.read_weights(recipe, run / "last.pt", tmp_path / "other.pt").state_dict()
        for name, value in state.items():
            expected = value + 1.0 if value.is_floating_point() else value
            torch.testing.assert_close(mean[name], expected, msg=name)

    def test_failed_export_replaces_no_file(self, repository, run, recipe_file, tmp_path):
        before = {file: file.read_bytes() for file in repository.rglob("*") if file.is_file()}
        with pytest.raises(FileNotFoundError):
            export.main(
                run,
                recipe=recipe_file,
                data=tmp_path / "none",
                repository=repository,
                weights=tmp_path / "unwritten",
            )
        assert not (tmp_path / "unwritten").exists()
        for file, content in before.items():
            assert file.read_bytes() == content

    @pytest.mark.parametrize(("text", "size_hw"), [("192x160", (192, 160)), ("32x40", (32, 40))])
    def test_export_size_is_parsed_as_height_by_width(self, text, size_hw):
        assert export.parse_size(text) == size_hw

    @pytest.mark.parametrize("text", ["192", "axb", "1x2x3"])
    def test_invalid_export_sizes_are_rejected(self, text):
        with pytest.raises(ValueError, match=r"unpack|invalid literal"):
            export.parse_size(text)


class Recorder(nn.Module):
    """Network that records its input and returns its first two channels as logits."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.received = image
        return image[:, :2] / 64


class TestDeployed:
    def test_deployed_network_maps_raw_pixels_to_probabilities(self):
        images = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8)
        recorder = Recorder()
        alpha = DeployedSegmenter(recorder)(images)
        assert recorder.received.dtype == torch.float32
        assert torch.equal(recorder.received, images.permute(0, 3, 1, 2).float())
        green_over_red = (images[..., 1].float() - images[..., 0].float()) / 64
        assert alpha.dtype == torch.uint8
        assert torch.equal(alpha, (green_over_red.sigmoid() * 255).round().to(torch.uint8))

    def test_exported_graph_maps_bytes_to_bytes(self, repository):
        graph = onnx.load(load_spec(repository / "connectnet").model_file(repository)).graph
        (image,), (alpha,) = graph.input, graph.output
        assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        assert alpha.type.tensor_type.elem_type == onnx.TensorProto.UINT8

    def test_exported_graph_receives_unprocessed_pixels(self, data):
        portrait = read_portraits(data, "val")[0]
        rgb = portrait.rgb()
        received = []

        def predict(inputs: Tensors) -> np.ndarray:
            (images,) = inputs.values()
            received.append(images)
            return images[..., 0]

        segment = masks.segmenter_from_model(
            predict, size_hw=rgb.shape[:2], resize=ResizeRule.STRETCH
        )
        np.testing.assert_array_equal(segment(portrait), rgb[..., 0])
        np.testing.assert_array_equal(received[0], rgb[None])
