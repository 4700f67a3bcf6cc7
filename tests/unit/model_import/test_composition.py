"""The composed graph computes the reference's mask of every pixel level."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from silhouette_seg.model_import.presets import PRESETS
from silhouette_seg.model_import.processing import Activation, ColourOrder, Scale, TensorLayout
from silhouette_seg.pipeline.model_folders import read_spec
from tests.support.foreign_graphs import PUBLISHED, Graph

IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def stretched(values):
    return (values - values.min()) / (values.max() - values.min())


def normalised(pixels, mean, std):
    """Returns the mean over the channels of (pixels / 255 - mean) / std."""
    return ((pixels / 255 - mean) / std).mean(-1)


EXPECTED = {
    "isnet": lambda p: stretched(sigmoid(4 * normalised(p, 0.5, 1))),
    "u2net": lambda p: stretched(sigmoid(normalised(p * (255 / p.max()), *IMAGENET))),
    "birefnet": lambda p: sigmoid(4 * normalised(p, *IMAGENET)),
    "rmbg": lambda p: stretched(sigmoid(4 * normalised(p, 0.5, 1))),
    "modnet": lambda p: p.mean(-1) / 255,
    "pp_humanseg": lambda p: sigmoid(normalised(p, 0.5, 0.5)),
    "mediapipe_selfie": lambda p: p.mean(-1) / 255,
}
"""Share of person of the small graph of each preset, from the formulas of its reference."""
EXPECTED |= dict.fromkeys(("u2netp", "u2net_human_seg", "silueta"), EXPECTED["u2net"])
EXPECTED |= {"birefnet_lite": EXPECTED["birefnet"]}


def photo(size_hw, brightest=200):
    """Returns coarse noise, uint8 [1,*size_hw,3], with a known maximum."""
    random = np.random.default_rng(1)
    height, width = size_hw
    blocks = random.integers(0, brightest, (-(-height // 8), -(-width // 8), 3), np.uint8)
    pixels = blocks.repeat(8, 0).repeat(8, 1)[:height, :width]
    pixels[0, 0] = brightest
    return pixels[None]


def mask_of(model, images):
    file = model.spec.model_file(model.folder.parent)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_computes_the_mask_of_its_reference(import_preset, tmp_path, preset):
    model = import_preset(PUBLISHED[preset].write(tmp_path), preset)
    pixels = photo(model.spec.size_hw)
    expected = 255 * EXPECTED[preset](pixels[0].astype(np.float64))
    mask = mask_of(model, pixels)
    assert mask.dtype == np.uint8
    assert np.abs(mask[0] - expected).max() < 0.51
    assert model.verification.largest_difference <= 1
    assert read_spec(model.folder.parent, preset) == model.spec


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18, 21])
@pytest.mark.parametrize(
    ("activation", "scale"),
    [
        (Activation.MINMAX, Scale.MAXIMUM),
        (Activation.SIGMOID, Scale.BYTE),
        (Activation.NONE, Scale.MAXIMUM),
    ],
)
def test_every_opset_has_the_same_steps(import_preset, tmp_path, opset, activation, scale):
    ending = "Identity" if activation is Activation.SIGMOID else "Sigmoid"
    file = Graph(opset=opset, ending=ending, gain=9).write(tmp_path)
    model = import_preset(file, activation=activation, scale=scale)
    assert model.verification.steps_difference <= 1


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_softmax_is_over_the_channels(import_preset, tmp_path, opset):
    graph = Graph(output=(1, 2, 32, 32), ending="Softmax", opset=opset).build()
    softmax = next(node for node in graph.graph.node if node.op_type == "Softmax")
    graph.graph.node.remove(softmax)
    graph.graph.node[-1].output[0] = "output"
    onnx.save(graph, tmp_path / "logits.onnx")
    model = import_preset(tmp_path / "logits.onnx", activation=Activation.SOFTMAX, channel=1)
    pixels = photo((32, 32))
    expected = 255 * sigmoid(normalised(pixels[0], *IMAGENET))
    assert np.abs(mask_of(model, pixels)[0] - expected).max() < 0.51


def test_blue_comes_first_in_the_order_bgr(import_preset, tmp_path):
    graph = Graph(ending="Identity").build()
    graph.graph.node[0].CopyFrom(onnx.helper.make_node("Gather", ["input", "0"], ["mean"], axis=1))
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "0"))
    onnx.save(graph, tmp_path / "first.onnx")
    shares = {"mean": (0, 0, 0), "std": (1, 1, 1), "activation": Activation.NONE}
    pixels = photo((32, 32))
    for order, channel in ((ColourOrder.RGB, 0), (ColourOrder.BGR, 2)):
        model = import_preset(tmp_path / "first.onnx", name=order, order=order, **shares)
        np.testing.assert_array_equal(mask_of(model, pixels), pixels[..., channel])


def test_float16_network_keeps_its_type(import_preset, tmp_path):
    file = Graph(kind=TensorProto.FLOAT16, ending="Identity").write(tmp_path)
    model = import_preset(file)
    assert model.spec.precision == "float16"
    assert model.verification.steps_difference <= 1


def test_names_of_our_tensors_may_occur_in_the_network(import_preset, tmp_path):
    model = import_preset(Graph(names=("image", "alpha"), ending="Identity").write(tmp_path))
    assert model.verification.steps_difference <= 1


def test_side_outputs_and_their_nodes_are_left_out(import_preset, tmp_path):
    model = import_preset(Graph(ending="Identity", extra_outputs=3).write(tmp_path))
    graph = onnx.load(model.spec.model_file(model.folder.parent)).graph
    assert [value.name for value in graph.output] == ["alpha"]
    assert "Neg" not in {node.op_type for node in graph.node}


def test_chosen_output_is_the_mask(import_preset, tmp_path):
    file = Graph(ending="Identity", extra_outputs=1).write(tmp_path)
    first = import_preset(file)
    side = import_preset(file, name="side", output="side0")
    pixels = photo((32, 32))
    assert np.corrcoef(mask_of(first, pixels).flat, mask_of(side, pixels).flat)[0, 1] < -0.9


def test_open_batch_is_kept_and_fixed_batch_is_one(import_preset, tmp_path):
    opened = Graph(input=("n", 3, 32, 32), output=("n", 1, 32, 32), ending="Identity")
    assert import_preset(opened.write(tmp_path), name="open").spec.max_batch == 16
    limited = import_preset(opened.write(tmp_path), name="limited", max_batch=3)
    assert limited.spec.max_batch == 3
    fixed = import_preset(Graph(ending="Identity").write(tmp_path), name="fixed", max_batch=3)
    assert fixed.spec.max_batch == 1


def test_batch_of_large_images_is_small(import_preset, tmp_path):
    model = import_preset(PUBLISHED["rmbg"].write(tmp_path), "rmbg")
    assert model.spec.max_batch == 4


def test_open_batch_that_mixes_its_rows_becomes_one(import_preset, tmp_path):
    graph = Graph(input=("n", 3, 32, 32), output=("n", 1, 32, 32), ending="Identity").build()
    axes = onnx.helper.make_node("ReduceMean", ["mean"], ["rows"], axes=[0])
    centred = onnx.helper.make_node("Sub", ["mean", "rows"], ["centred"])
    plain = onnx.helper.make_node("Add", ["centred", "mean"], ["mixed"])
    nodes = list(graph.graph.node)
    nodes[1].input[0] = "mixed"
    del graph.graph.node[:]
    graph.graph.node.extend([nodes[0], axes, centred, plain, *nodes[1:]])
    onnx.save(graph, tmp_path / "mixing.onnx")
    assert import_preset(tmp_path / "mixing.onnx").spec.max_batch == 1


def test_layout_is_that_of_the_input(import_preset, tmp_path):
    file = Graph(input=(1, 32, 32, 3), output=(1, 32, 32, 1), ending="Identity").write(tmp_path)
    model = import_preset(file)
    assert f"{TensorLayout.NHWC}, rgb" in (model.folder / "CARD.md").read_text()


def test_shape_of_an_output_may_be_undeclared(import_preset, tmp_path):
    graph = Graph(ending="Identity").build()
    graph.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(graph, tmp_path / "shapeless.onnx")
    assert import_preset(tmp_path / "shapeless.onnx").verification.steps_difference <= 1


def test_black_photo_has_a_mask(import_preset, tmp_path):
    model = import_preset(PUBLISHED["u2net"].write(tmp_path), "u2net")
    assert mask_of(model, np.zeros((1, 320, 320, 3), np.uint8)).max() == 0
