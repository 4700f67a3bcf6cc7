"""Contract of the face detector: counts, decoding, and torch against the exported graph."""

import numpy as np
import pytest
import torch
from torch import nn

from silhouette_seg.pipeline.faces import find_faces
from silhouette_seg.spec import ResizeRule, TensorSpec
from silhouette_seg.vision.geometry import place
from training.evaluation.onnx_model import open_onnx
from training.export.__main__ import export_onnx, output_spec
from training.export.parity import ParityError, check_parity
from training.export.parity import parity_images as scenes
from training.models import build_model, deploy_form
from training.models.face_detector import (
    CELL_SIDE_PX,
    DeployedFaceDetector,
    FaceDetector,
    decode_boxes,
)

SIZE = (64, 96)
CELLS = 8 * 12


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seasoned(seed: int = 0) -> FaceDetector:
    """Returns the network in evaluation mode, with real statistics and varying outputs."""
    torch.manual_seed(seed)
    model = build_model("face_detector", {})
    assert isinstance(model, FaceDetector)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    for layer in (model.score, model.centre, model.sides):
        nn.init.normal_(layer.weight, std=0.2)
    nn.init.zeros_(model.score.bias)
    with torch.no_grad():
        for _ in range(3):
            model.train()(pictures(4))
    return model.eval()


def pictures(count: int) -> torch.Tensor:
    return torch.from_numpy(scenes(SIZE, count=count)).permute(0, 3, 1, 2).float()


@pytest.fixture(scope="module")
def model():
    return seasoned()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(deploy_form(model), SIZE, file)
    return file


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_detector_parameter_count_matches():
    assert parameters(build_model("face_detector", {})) == 174_101


def test_detector_gradients_reach_every_parameter():
    model = build_model("face_detector", {}).train()
    raw = model(pictures(2))
    assert raw.shape == (2, 5, 8, 12)
    (raw * torch.randn_like(raw)).sum().backward()
    assert [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()
    ] == []


def test_untrained_detector_finds_almost_no_face():
    answer = DeployedFaceDetector(build_model("face_detector", {}).eval())(
        torch.from_numpy(scenes(SIZE, count=1))
    )
    assert answer[..., 0].max() < 0.05


class TestDecoding:
    def test_decoded_zeros_are_centred_boxes_of_one_cell(self):
        boxes = decode_boxes(torch.zeros(1, 5, 4, 8)).reshape(4, 8, 4)
        for row, column in [(0, 0), (3, 0), (2, 7)]:
            assert boxes[row, column].tolist() == pytest.approx([row / 4, column / 8, 1 / 4, 1 / 8])

    def test_decoded_offsets_and_sides_are_in_cells(self):
        raw = torch.zeros(1, 5, 10, 20)
        raw[0, 1:, 4, 15] = torch.tensor([0.5, -2.0, np.log(6), np.log(3)])
        top, left, height, width = decode_boxes(raw)[0, 4 * 20 + 15].tolist()
        assert (height, width) == pytest.approx((0.6, 0.15))
        assert (top + height / 2, left + width / 2) == pytest.approx((5 / 10, 13.5 / 20))

    def test_decoded_boxes_are_always_finite(self):
        boxes = decode_boxes(torch.full((1, 5, 4, 4), 1e4))
        assert boxes.isfinite().all()
        assert (decode_boxes(torch.full((1, 5, 4, 4), -1e4))[..., 2:] > 0).all()


class TestServed:
    def test_deployed_detector_returns_scores_and_boxes(self, model):
        answer = DeployedFaceDetector(model)(torch.from_numpy(scenes(SIZE, count=3)))
        assert answer.shape == (3, CELLS, 5)
        assert answer.dtype == torch.float32
        assert ((answer[..., 0] >= 0) & (answer[..., 0] <= 1)).all()
        assert (answer[..., 3:] > 0).all()

    def test_deployed_detector_is_the_same_function(self, model):
        images = torch.from_numpy(scenes(SIZE, count=3))
        served = deploy_form(model)
        assert not [m for m in served.modules() if isinstance(m, nn.BatchNorm2d)]
        torch.testing.assert_close(
            DeployedFaceDetector(served)(images),
            DeployedFaceDetector(model)(images),
            rtol=0,
            atol=1e-4,
        )

    @pytest.mark.parametrize("batch", [1, 2, 5])
    def test_exported_detector_agrees_with_torch(self, model, exported, batch):
        images = scenes(SIZE, count=batch)
        faces = open_onnx(exported)({"image": images})
        expected = DeployedFaceDetector(model)(torch.from_numpy(images)).detach().numpy()
        assert faces.shape == (batch, SIZE[0] * SIZE[1] // CELL_SIDE_PX**2, 5)
        assert faces.dtype == np.float32
        assert output_spec(model, SIZE) == TensorSpec(
            name="faces", dtype="float32", shape=(-1, *faces.shape[1:])
        )
        assert np.ptp(faces[..., 0]) > 0.1, "a flat answer would agree with anything"
        np.testing.assert_allclose(faces, expected, rtol=0, atol=1e-4)

    def test_detector_batch_equals_its_rows(self, exported):
        images = scenes(SIZE, count=5)
        predict = open_onnx(exported)
        alone = np.concatenate([predict({"image": image[None]}) for image in images])
        np.testing.assert_allclose(predict({"image": images}), alone, rtol=0, atol=1e-6)

    def test_verify_accepts_the_detector_and_no_other_file(self, model, exported):
        check_parity(model, exported, SIZE)
        with pytest.raises(ParityError, match="differs from torch"):
            check_parity(seasoned(seed=1), exported, SIZE)

    def test_routing_reads_the_output_of_the_detector(self, exported):
        (row,) = open_onnx(exported)({"image": scenes(SIZE, count=1)})
        faces = find_faces(row, place((128, 192), SIZE, ResizeRule.LETTERBOX), min_score=0.0)
        assert faces
        assert all(0 < face.ratio <= 1 for face in faces)
