import json
from math import prod

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from silhouette_seg.api.open_inference.codec import InferRequest, decode_request, encode_response
from silhouette_seg.api.open_inference.json_tensors import (
    CHUNK_BYTES,
    MAX_NON_TENSOR_BYTES,
    UnparsedArray,
    read_document,
    read_numbers,
    write_numbers,
)
from silhouette_seg.errors import BadParameter, EngineFailed, MalformedBody
from silhouette_seg.spec import TensorSpec
from tests.support.tensors import (
    binary_request,
    json_request,
    random_inputs,
    tensor_header,
    to_wire,
)
from tests.support.tiny_model import tiny_spec

NAMES = ("connectnet", "rcrnet", "md_trisenet", "face_detector")
DTYPES = ("uint8", "int64", "float32")

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
LARGE = (2, 60, 60, 3)
"""Its text is of several pieces."""


def tensor_of(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    if dtype == "float32":
        return random.standard_normal(shape).astype(dtype) * np.float32(10.0 ** (seed % 60 - 30))
    bounds = np.iinfo(dtype)
    return random.integers(bounds.min, bounds.max, shape, dtype, endpoint=True)


class TestNumbers:
    @given(SHAPES, st.sampled_from(DTYPES), st.integers(0, 99), st.booleans(), st.booleans())
    @example(LARGE, "uint8", 1, True, True)
    @example(LARGE, "uint8", 1, False, False)
    @example(LARGE, "float32", 30, True, False)
    def test_are_read_as_json_has_them(self, shape, dtype, seed, nested, spacious):
        tensor = tensor_of(shape, dtype, seed)
        listed = tensor.tolist() if nested else tensor.ravel().tolist()
        text = json.dumps(listed, indent="\t\r" if spacious else None).encode()
        read = read_numbers(UnparsedArray(text), shape, dtype)
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, tensor)

    @given(SHAPES, st.sampled_from(DTYPES), st.integers(0, 99))
    @example(LARGE, "uint8", 2)
    @example(LARGE, "float32", 2)
    def test_are_written_as_json_reads_them(self, shape, dtype, seed):
        tensor = tensor_of(shape, dtype, seed)
        written = write_numbers(tensor)
        np.testing.assert_array_equal(np.array(json.loads(written), dtype), tensor.ravel())
        np.testing.assert_array_equal(read_numbers(UnparsedArray(written), shape, dtype), tensor)

    def test_are_of_many_pieces_here(self):
        assert len(write_numbers(tensor_of(LARGE, "uint8", 1))) > CHUNK_BYTES

    @given(
        st.sampled_from([(3,), (1, 3), (2, 2), (2, 1), (1, 1), (2, 1, 2)]),
        st.sampled_from(["uint8", "int64"]),
        st.booleans(),
        st.lists(
            st.tuples(
                st.integers(0, 40), st.integers(0, 2), st.sampled_from([*"[],0-.1e +\n", "256"])
            ),
            max_size=3,
        ),
    )
    @example((2, 2), "uint8", True, [(0, 0, "[")])
    def test_are_taken_where_json_takes_them_and_only_there(self, shape, dtype, nested, damage):
        tensor = np.arange(prod(shape), dtype=dtype).reshape(shape)
        text = json.dumps(tensor.tolist() if nested else tensor.ravel().tolist())
        for at, length, put in damage:
            text = text[:at] + put + text[at + length :]
        text = f"[{text[1:]}"
        expected = by_json(text, shape, dtype)
        try:
            read = read_numbers(UnparsedArray(text.encode()), shape, dtype)
        except ValueError:
            assert expected is None, text
        else:
            assert expected is not None, text
            np.testing.assert_array_equal(read, expected)

    @pytest.mark.parametrize(
        ("text", "dtype"),
        [
            ("[256,0]", "uint8"),
            ("[-1,0]", "uint8"),
            ("[1.0,0]", "uint8"),
            ("[1e0,0]", "uint8"),
            (f"[{2**63},0]", "int64"),
            (f"[{2**64},-1]", "int64"),
            ("[%s,0]" % ("9" * 5000), "int64"),
            ("[0.5,0]", "int64"),
            ("[1e39,0]", "float32"),
            ("[1e999,0]", "float32"),
            ("[%s,0]" % ("9" * 400), "float32"),
            ("[NaN,0]", "float32"),
            ("[Infinity,0]", "float32"),
            ("[true,0]", "uint8"),
            ("[null,0]", "float32"),
            ("[1,,]", "uint8"),
            ("[1]", "uint8"),
            ("[1,2,3]", "uint8"),
            ("[[1],[2]]", "uint8"),
            ("[[1,2]]", "uint8"),
            ("[01,2]", "uint8"),
            ("[1 1,2]", "uint8"),
        ],
    )
    def test_that_are_none_of_the_dtype_are_refused(self, text, dtype):
        with pytest.raises(ValueError, match=r"^(has|is|contains) "):
            read_numbers(UnparsedArray(text.encode()), (2,), dtype)

    def test_that_json_does_not_have_are_not_written(self):
        with pytest.raises(ValueError, match="JSON"):
            write_numbers(np.array([1, np.nan], np.float32))


def by_json(text: str, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    """What Python's parser makes of it; None for what is not that tensor."""
    try:
        read = json.loads(text)
        whole = np.array(read, dtype=object)
    except ValueError:
        return None
    flat = list(whole.ravel())
    bounds = np.iinfo(dtype)
    if any(type(number) is not int or not bounds.min <= number <= bounds.max for number in flat):
        return None
    if whole.shape not in (shape, (prod(shape),)):
        return None
    return np.array(flat, dtype).reshape(shape)


def restore_array(value: object) -> object:
    if isinstance(value, UnparsedArray):
        return json.loads(value.text)
    if isinstance(value, dict):
        return {key: restore_array(each) for key, each in value.items()}
    return [restore_array(each) for each in value] if isinstance(value, list) else value


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\[]{}:,data1é', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", 'x"data', "y"]), inner, max_size=3)
        | st.lists(st.integers(0, 9), max_size=3).map(lambda numbers: {"data": numbers})
    ),
    max_leaves=12,
)


class TestDocuments:
    @given(JSON_VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
    def test_are_those_of_json_but_for_arrays_of_numbers(self, value, ascii, indent):
        """An array under `data` that holds anything else is no tensor, and may be refused."""
        text = json.dumps(value, ensure_ascii=ascii, indent=indent)
        try:
            read = restore_array(read_document(text.encode()))
        except ValueError:
            assert has_other_data(value), text
        else:
            assert read == value

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]]",
            '{"a":NaN}',
            '{"data":[1,2],}',
            '{"data":[1,2],,"a":1}',
            '{"data":[1],"data":[2]}',
            '{"a":"\\ud800',
            "[" * 60_000,
            '{"data":["',
            '{"data":[1',
            '{"data":[1,"data":[2',
        ],
        ids=lambda text: text[:20],
    )
    def test_that_are_no_json_are_refused(self, text):
        with pytest.raises(ValueError, match="JSON"):
            read_document(text.encode())

    def test_with_bytes_that_are_no_text_are_refused(self):
        with pytest.raises(ValueError, match="JSON"):
            read_document(b'{"a":"\xff"}')

    def test_data_under_an_escaped_name_is_no_tensor(self):
        assert read_document(b'{"d\\u0061ta":[0,1]}') == {"data": [0, 1]}

    def test_besides_its_tensors_a_document_is_short(self):
        numbers = "[" + "1," * MAX_NON_TENSOR_BYTES + "1]"
        assert read_document(b'{"data":%s}' % numbers.encode()) == {
            "data": UnparsedArray(numbers.encode())
        }
        with pytest.raises(ValueError, match="besides its tensors"):
            read_document(b'{"more":%s}' % numbers.encode())

    def test_unclosed_arrays_take_no_time_each(self):
        """A search to the end of the text for each would take minutes."""
        with pytest.raises(ValueError, match="besides its tensors"):
            read_document(b'{"data":[1,' * 2**20)


def has_other_data(value: object) -> bool:
    if isinstance(value, list):
        return any(map(has_other_data, value))
    if not isinstance(value, dict):
        return False
    data = value.get("data")
    if isinstance(data, list) and not all(type(each) is int for each in data):
        return True
    return any(map(has_other_data, value.values()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("nested", [False, True])
def test_json_tensors_become_the_inputs_of_the_engine(name, rows, nested):
    spec = tiny_spec(name)
    inputs = random_inputs(spec, rows)
    same(decode_request(json_request(inputs, nested=nested), None, spec), inputs, rows)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("padding", range(8))
def test_binary_tensors_become_the_inputs_of_the_engine(name, rows, padding):
    """Wherever in memory they begin."""
    spec = tiny_spec(name)
    inputs = random_inputs(spec, rows)
    body, headers = binary_request(dict(reversed(inputs.items())), id="x" * padding)
    (length,) = headers.values()
    asked = decode_request(body, int(length), spec)
    same(asked, inputs, rows)
    assert all(array.flags.aligned for array in asked.inputs.values())


def same(asked: InferRequest, inputs: dict[str, np.ndarray], rows: int) -> None:
    assert asked.rows == rows
    assert asked.inputs.keys() == inputs.keys()
    for name, array in inputs.items():
        assert asked.inputs[name].dtype == array.dtype
        np.testing.assert_array_equal(asked.inputs[name], array)


def test_some_tensors_may_be_json_and_others_binary():
    spec = tiny_spec("rcrnet")
    inputs = random_inputs(spec, 2)
    prior = tensor_header("prior", inputs["prior"]) | {"data": inputs["prior"].ravel().tolist()}
    image = tensor_header("image", inputs["image"])
    image["parameters"] = {"binary_data_size": inputs["image"].nbytes}
    header = json.dumps({"inputs": [prior, image]}).encode()
    asked = decode_request(header + inputs["image"].tobytes(), len(header), spec)
    same(asked, inputs, 2)


def test_a_body_without_json_is_one_row():
    spec = tiny_spec("connectnet")
    inputs = random_inputs(spec, 1)
    asked = decode_request(inputs["image"].tobytes(), 0, spec)
    same(asked, inputs, 1)
    assert asked.binary
    with pytest.raises(BadParameter):
        decode_request(inputs["image"].tobytes() * 2, 0, spec)
    with pytest.raises(BadParameter, match="image and prior"):
        decode_request(inputs["image"].tobytes(), 0, tiny_spec("rcrnet"))


@pytest.mark.parametrize(
    ("more", "binary"),
    [
        ({}, False),
        ({"outputs": []}, False),
        ({"outputs": [{"name": "alpha"}]}, False),
        ({"outputs": [{"name": "alpha", "parameters": {"binary_data": True}}]}, True),
        ({"parameters": {"binary_data_output": True}}, True),
        ({"parameters": {"binary_data_output": True}, "outputs": [{"name": "alpha"}]}, True),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "alpha", "parameters": {"binary_data": False}}],
            },
            False,
        ),
        ({"parameters": {"anything": {"else": 1}}}, False),
    ],
)
def test_output_is_binary_where_it_is_asked_for(more, binary):
    spec = tiny_spec()
    asked = decode_request(json_request(random_inputs(spec, 1), **more), None, spec)
    assert asked.binary is binary


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("id", ["", 'seven "7" \ud800'])
@pytest.mark.parametrize("dtype", DTYPES)
def test_answers_are_read_back(binary, id, dtype):
    output = tensor_of((2, 30, 31), dtype, seed=5)
    spec = tiny_spec().model_copy(
        update={"output": TensorSpec(name="alpha", dtype=dtype, shape=(-1, 30, 31))}
    )
    answer = encode_response(InferRequest(id, {}, 2, binary=binary), spec, output)
    document = json.loads(answer.body[: answer.header_length])
    (tensor,) = document.pop("outputs")
    named = {"model_name": "connectnet", "model_version": "1"}
    assert document == (named | {"id": id} if id else named)
    raw = output.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    if binary:
        assert answer.body[answer.header_length :] == raw
        assert tensor.pop("parameters") == {"binary_data_size": len(raw)}
    else:
        np.testing.assert_array_equal(np.array(tensor.pop("data"), dtype), output.ravel())
    assert tensor == tensor_header("alpha", output)


def test_an_output_that_is_not_finite_has_no_json():
    spec = tiny_spec("face_detector")
    output = np.full((1, 1, 5), np.inf, np.float32)
    with pytest.raises(EngineFailed):
        encode_response(InferRequest("", {}, 1, binary=False), spec, output)
    assert encode_response(InferRequest("", {}, 1, binary=True), spec, output).body.endswith(
        output.tobytes()
    )


IMAGE = {"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 3]}
ZEROS = IMAGE | {"data": [0] * 12}
SMALL = tiny_spec(size_hw=(2, 2), max_batch=2)

WRONG = {
    "no object": ([], "an object"),
    "no inputs": ({}, "image is missing"),
    "inputs no list": ({"inputs": {}}, "inputs must be a list"),
    "an input no object": ({"inputs": [1]}, "Each of inputs"),
    "no name": ({"inputs": [{}]}, "name must be a string"),
    "unknown input": ({"inputs": [ZEROS, ZEROS | {"name": "x" * 500}]}, 'no "xxx'),
    "twice": ({"inputs": [ZEROS, ZEROS]}, "twice"),
    "datatype": ({"inputs": [ZEROS | {"datatype": "FP32"}]}, 'datatype is "FP32", not UINT8'),
    "no datatype": ({"inputs": [{"name": "image"}]}, "datatype is null"),
    "shape": ({"inputs": [ZEROS | {"shape": [1, 3, 2, 2]}]}, r"shape is \[1, 3, 2, 2\]"),
    "flat shape": ({"inputs": [ZEROS | {"shape": [12]}]}, "shape"),
    "no shape": ({"inputs": [{k: v for k, v in ZEROS.items() if k != "shape"}]}, "must be a list"),
    "empty shape": ({"inputs": [ZEROS | {"shape": []}]}, "shape"),
    "true shape": ({"inputs": [ZEROS | {"shape": [True, 2, 2, 3]}]}, "shape"),
    "fraction": ({"inputs": [ZEROS | {"shape": [1.0, 2, 2, 3]}]}, "shape"),
    "no rows": ({"inputs": [ZEROS | {"shape": [0, 2, 2, 3], "data": []}]}, "shape"),
    "minus one": ({"inputs": [ZEROS | {"shape": [-1, 2, 2, 3]}]}, "shape"),
    "too many rows": ({"inputs": [ZEROS | {"shape": [3, 2, 2, 3]}]}, "at most 2 rows"),
    "few numbers": (
        {"inputs": [ZEROS | {"data": [0] * 11}]},
        "has 11 numbers; the shape .* needs 12",
    ),
    "many numbers": (
        {"inputs": [ZEROS | {"data": [0] * 13}]},
        "has 13 numbers; the shape .* needs 12",
    ),
    "too large": ({"inputs": [ZEROS | {"data": [256] * 12}]}, "not uint8"),
    "no data": ({"inputs": [IMAGE]}, "neither data nor"),
    "data no list": ({"inputs": [IMAGE | {"data": "AAAA"}]}, "a list of numbers"),
    "data escaped": (
        b'{"inputs":[%s,"d\\u0061ta":[0]}]}' % json.dumps(IMAGE).encode()[:-1],
        "list",
    ),
    "data unclosed": (
        b'{"inputs":[%s,"data":[%s}]}' % (json.dumps(IMAGE).encode()[:-1], b"0," * 11 + b"0"),
        "nested",
    ),
    "both": ({"inputs": [ZEROS | {"parameters": {"binary_data_size": 12}}]}, "both data and"),
    "binary is not there": (
        {"inputs": [IMAGE | {"parameters": {"binary_data_size": 12}}]},
        "0 bytes are left",
    ),
    "size": ({"inputs": [IMAGE | {"parameters": {"binary_data_size": 2**70}}]}, "12 bytes"),
    "parameters no object": ({"inputs": [ZEROS | {"parameters": 1}]}, "must be an object"),
    "shared memory": (
        {"inputs": [IMAGE | {"parameters": {"shared_memory_region": "x"}}]},
        "not supported",
    ),
    "id": ({"inputs": [ZEROS], "id": 7}, "id must be a string"),
    "outputs no list": ({"inputs": [ZEROS], "outputs": "alpha"}, "must be a list"),
    "unknown output": ({"inputs": [ZEROS], "outputs": [{"name": "x"}]}, 'no "x"; it has alpha'),
    "output twice": ({"inputs": [ZEROS], "outputs": [{"name": "alpha"}] * 2}, "twice"),
    "classification": (
        {"inputs": [ZEROS], "outputs": [{"name": "alpha", "parameters": {"classification": 2}}]},
        "not supported",
    ),
    "flag": ({"inputs": [ZEROS], "parameters": {"binary_data_output": 1}}, "true or false"),
}


@pytest.mark.parametrize(("document", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_the_model_is_refused(document, told):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(BadParameter, match=told) as refused:
        decode_request(body, None, SMALL)
    assert len(refused.value.detail) < 300


def test_too_many_rows_say_limit_and_value():
    inputs = {"image": np.zeros((3, 2, 2, 3), np.uint8)}
    with pytest.raises(BadParameter) as refused:
        decode_request(json_request(inputs), None, SMALL)
    assert (refused.value.limit, refused.value.actual) == (2, 3)


def test_inputs_must_have_as_many_rows():
    spec = tiny_spec("md_trisenet")
    inputs = random_inputs(spec, 2) | {"domain": np.zeros(1, np.int64)}
    with pytest.raises(BadParameter, match="2 of image, 1 of domain"):
        decode_request(json_request(inputs), None, spec)


def test_one_number_a_row_has_an_axis_of_its_own():
    spec = tiny_spec("md_trisenet")
    document = json.loads(json_request(random_inputs(spec, 2)))
    assert document["inputs"][1]["shape"] == [2, 1]
    document["inputs"][1]["shape"] = [2]
    with pytest.raises(BadParameter, match=r"shape is \[2\], not \[-1, 1\]"):
        decode_request(json.dumps(document).encode(), None, spec)


def test_a_body_that_is_longer_or_shorter_than_it_says_is_malformed():
    inputs = random_inputs(SMALL, 1)
    body, headers = binary_request(inputs)
    (length,) = map(int, headers.values())
    for wrong, told in [
        ((body + b"x", length), "1 bytes more"),
        ((body[:-1], length), "11 bytes are left"),
        ((body, len(body) + 1), "shorter than"),
        ((body, length - 1), "cannot be parsed"),
        ((body, None), "need Inference-Header-Content-Length"),
        ((b"", None), "cannot be parsed"),
    ]:
        with pytest.raises((MalformedBody, BadParameter), match=told):
            decode_request(*wrong, SMALL)


@given(st.binary(max_size=300), st.none() | st.integers(0, 400), st.booleans())
def test_any_bytes_are_a_request_or_refused(noise, length, begun):
    body = json_request(random_inputs(SMALL, 1))[: len(noise)] + noise if begun else noise
    try:
        asked = decode_request(body, length, SMALL)
    except (MalformedBody, BadParameter):
        return
    assert to_wire(asked.inputs["image"]).shape == (1, 2, 2, 3)
