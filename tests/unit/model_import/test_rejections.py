"""Files that cannot be imported: each has a clear sentence, and nothing is written."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from silhouette_seg.model_import import graph_session
from silhouette_seg.model_import.errors import ModelRejected
from silhouette_seg.model_import.folder_check import check_file
from silhouette_seg.model_import.foreign_graph import MAX_FILE_BYTES
from silhouette_seg.model_import.importer import ImportRequest, import_model
from silhouette_seg.model_import.presets import PRESETS
from silhouette_seg.model_import.processing import Activation
from tests.support.foreign_graphs import Graph

LOGITS = Graph(ending="Identity", gain=4)


def saved(folder, model, name="network.onnx"):
    (folder / name).write_bytes(model.SerializeToString())
    return folder / name


def with_external_data(folder):
    model = LOGITS.build()
    big = numpy_helper.from_array(np.zeros(2000, np.float32), "big")
    model.graph.initializer.append(big)
    onnx.save(model, folder / "a.onnx", save_as_external_data=True, location="weights.bin")
    return folder / "a.onnx"


def with_custom_operator(folder):
    model = LOGITS.build()
    model.graph.node[1].domain, model.graph.node[1].op_type = "acme", "Blur"
    model.opset_import.append(helper.make_opsetid("acme", 1))
    return saved(folder, model)


def with_unknown_operator(folder):
    model = LOGITS.build()
    model.graph.node[1].op_type = "Segment"
    return saved(folder, model)


def with_nan(folder):
    model = LOGITS.build()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.float32(np.nan), "gain"))
    return saved(folder, model)


def with_two_inputs(folder):
    model = LOGITS.build()
    model.graph.input.append(helper.make_tensor_value_info("prior", TensorProto.FLOAT, [1]))
    return saved(folder, model)


def with_labels(folder):
    """Writes a graph with the number of the class of each pixel, as segmenters export it."""
    model = Graph(ending="Softmax", output=(1, 1, 32, 32)).build()
    model.graph.node[-1].CopyFrom(helper.make_node("ArgMax", ["both"], ["output"], axis=1))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return saved(folder, model)


def with_half_size(folder):
    model = LOGITS.build()
    pool = helper.make_node(
        "AveragePool", ["value"], ["output"], kernel_shape=[2, 2], strides=[2, 2]
    )
    model.graph.node[-1].CopyFrom(pool)
    shape = [1, 1, 16, 16]
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
    )
    return saved(folder, model)


def without_output(folder):
    model = LOGITS.build()
    del model.graph.output[:]
    return saved(folder, model)


def with_infinite_gain(folder):
    """Writes a graph with infinity in a type of weights that is no type of a network's edges."""
    model = LOGITS.build()
    gain = numpy_helper.from_array(np.array(np.inf), "gain64")
    model.graph.initializer[0].CopyFrom(gain)
    cast = helper.make_node("Cast", ["gain64"], ["gain"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
    return saved(folder, model)


def of_two_gigabytes(folder):
    with (folder / "huge.onnx").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # a sparse file, which takes no space
    return folder / "huge.onnx"


def of_text(folder):
    (folder / "text.onnx").write_text("no graph")
    return folder / "text.onnx"


def cut_off(folder):
    content = LOGITS.build().SerializeToString()
    (folder / "cut.onnx").write_bytes(content[: len(content) // 2])
    return folder / "cut.onnx"


FILES = [
    pytest.param(with_external_data, "another file, weights.bin", id="external data"),
    pytest.param(with_custom_operator, "does not have: acme.Blur", id="custom operator"),
    pytest.param(with_unknown_operator, "ai.onnx.Segment", id="unknown operator"),
    pytest.param(with_nan, "weights gain contain NaN", id="NaN in the weights"),
    pytest.param(with_two_inputs, r"2 inputs \(input, prior\)", id="two inputs"),
    pytest.param(of_two_gigabytes, "has 2.1 GB; .* at most 2 GB", id="over 2 GB"),
    pytest.param(of_text, "text.onnx is not an ONNX file", id="text"),
    pytest.param(cut_off, "not an ONNX file", id="cut off"),
    pytest.param(lambda folder: folder / "none.onnx", "there is no file", id="no file"),
    pytest.param(lambda folder: folder, "there is no file", id="a folder"),
    pytest.param(
        lambda folder: saved(
            folder,
            helper.make_model(
                LOGITS.build().graph, ir_version=8, opset_imports=[helper.make_opsetid("", 99)]
            ),
        ),
        "opset 99 .* too new for ONNX Runtime",
        id="new opset",
    ),
    pytest.param(
        Graph(input=(1, 3, 32), output=(1, 3, 32)).write, "four axes", id="rank of the input"
    ),
    pytest.param(Graph(input=(4, 3, 32, 32)).write, "batch must be open or 1", id="batch of 4"),
    pytest.param(Graph(input=(1, 1, 32, 32)).write, "must be 3 colours", id="grey input"),
    pytest.param(Graph(input=(1, 4, 32, 32)).write, "must be 3 colours", id="four channels"),
    pytest.param(Graph(input=(1, 3, 0, 32)).write, "must be 1 to 4096 pixels", id="no pixel"),
    pytest.param(Graph(input=(1, 3, 32, 5000)).write, "must be 1 to 4096 pixels", id="too wide"),
    pytest.param(with_labels, r"output is int64 .*; it must be a float tensor", id="labels"),
    pytest.param(without_output, "the graph has no output", id="no output"),
    pytest.param(
        with_half_size, r"shape \[1, 1, 16, 16\] for an input of 32x32", id="mask of another size"
    ),
    pytest.param(with_infinite_gain, "output of the graph contains NaN", id="infinite output"),
]


@pytest.mark.parametrize(("write", "sentence"), FILES)
def test_unusable_file_is_rejected_by_check_and_import(tmp_path, import_preset, write, sentence):
    file = write(tmp_path)
    with pytest.raises(ModelRejected, match=sentence) as caught:
        import_preset(file)
    assert check_file(file) == [str(caught.value)]
    assert not (tmp_path / "models").exists()


def with_nan_output(folder):
    model = LOGITS.build()
    model.graph.node[-1].CopyFrom(helper.make_node("Log", ["value"], ["output"]))
    return saved(folder, model)


def with_constant_output(folder):
    return Graph(gain=0, offset=-2, ending="Identity").write(folder)


SHARES = {"activation": Activation.NONE}
RUNS = [
    pytest.param(with_nan_output, {}, "contains NaN or infinity", id="NaN output"),
    pytest.param(LOGITS.write, SHARES, "choose another activation", id="logits as shares"),
    pytest.param(Graph().write, {}, "has sigmoid already", id="sigmoid twice"),
    pytest.param(with_constant_output, {}, "is -2 for every picture", id="constant output"),
    pytest.param(LOGITS.write, {"channel": 1}, "has 1 channels; there is no 1", id="channel"),
    pytest.param(LOGITS.write, {"output": "mask"}, "no output mask; it has output", id="output"),
    pytest.param(LOGITS.write, {"layout": "nhwc"}, "not in the layout nhwc", id="layout"),
    pytest.param(LOGITS.write, {"size_hw": (64, 64)}, "is 32x32 .* not 64x64", id="other size"),
    pytest.param(
        Graph(input=(1, 3, 40, 40), ending="Identity").write, {}, "multiples of 32", id="multiple"
    ),
    pytest.param(
        Graph(input=(1, 3, "h", "w"), ending="Identity").write,
        {"size_hw": (-1, -1)},
        "leaves the size of its input open",
        id="open size",
    ),
    pytest.param(LOGITS.write, {"name": "auto"}, "is no name for an imported", id="name auto"),
    pytest.param(
        LOGITS.write, {"name": "unet"}, "none of auto, face_detector, unet", id="own name"
    ),
    pytest.param(LOGITS.write, {"licence": " "}, "the licence is empty", id="no licence"),
    pytest.param(
        LOGITS.write, {"name": "../up"}, "is no name for an imported", id="name of a path"
    ),
]


@pytest.mark.parametrize(("write", "changes", "sentence"), RUNS)
def test_unusable_network_is_rejected(tmp_path, import_preset, write, changes, sentence):
    file = write(tmp_path)
    with pytest.raises(ModelRejected, match=sentence):
        import_preset(file, **changes)
    assert not (tmp_path / "models").exists()


def test_network_that_never_ends_is_rejected(tmp_path, import_preset, monkeypatch):
    monkeypatch.setattr(graph_session, "TIME_LIMIT_S", 0.2)
    with pytest.raises(ModelRejected, match=r"took longer than 0\.2 s"):
        import_preset(saved(tmp_path, endless()))


def endless() -> onnx.ModelProto:
    """Returns a graph that negates its value for ever."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
    )
    model = LOGITS.build()
    turns = numpy_helper.from_array(np.array(2**62), "turns")
    model.graph.initializer.append(turns)
    model.graph.node[-1].CopyFrom(
        helper.make_node("Loop", ["turns", "", "value"], ["output"], body=body)
    )
    return model


def test_first_output_that_can_be_a_mask_is_taken(tmp_path, import_preset):
    model = LOGITS.build()
    model.graph.node.append(helper.make_node("Cast", ["value"], ["labels"], to=TensorProto.INT64))
    labels = helper.make_tensor_value_info("labels", TensorProto.INT64, [1, 1, 32, 32])
    outputs = [labels, *model.graph.output]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    file = saved(tmp_path, model)
    assert check_file(file) == []
    assert import_preset(file).spec.size_hw == (32, 32)
    with pytest.raises(ModelRejected, match="the output labels is int64"):
        import_preset(file, output="labels", name="other")


class TestFolder:
    """The folder of a model appears whole, and only once."""

    def test_import_does_not_replace_a_model(self, tmp_path, import_preset, repository):
        file = LOGITS.write(tmp_path)
        first = import_preset(file)
        with pytest.raises(FileExistsError, match="--overwrite"):
            import_preset(file)
        assert sorted(path.name for path in repository.iterdir()) == [first.spec.name]

    def test_overwrite_replaces_the_whole_folder(self, tmp_path, import_preset, repository):
        first = import_preset(LOGITS.write(tmp_path))
        (first.folder / "stale.txt").write_text("old")
        preset = PRESETS["birefnet"]
        request = ImportRequest(LOGITS.write(tmp_path), "birefnet", "MIT", preset.processing)
        import_model(request, repository, overwrite=True)
        assert sorted(path.name for path in repository.iterdir()) == ["birefnet"]
        assert not (first.folder / "stale.txt").exists()

    def test_failed_import_keeps_the_old_model(self, tmp_path, import_preset, repository):
        first = import_preset(LOGITS.write(tmp_path))
        before = (first.folder / "spec.json").read_bytes()
        preset = PRESETS["birefnet"]
        request = ImportRequest(with_nan(tmp_path), "birefnet", "MIT", preset.processing)
        with pytest.raises(ModelRejected):
            import_model(request, repository, overwrite=True)
        assert (first.folder / "spec.json").read_bytes() == before
        assert sorted(path.name for path in repository.iterdir()) == ["birefnet"]
