"""Examples of the OpenAPI document by the id of their operation: commands, requests and results.

tests/integration/test_openapi_commands.py runs the commands, and test_description.py beside it
checks bodies against their schemas.
"""

from typing import Any

from silhouette_seg.api.media_types import JSON

SERVICE = "http://127.0.0.1:8000"
PNG_BASE64 = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAEUlEQVR42mNMYEAFTAwjWgAAd7AAgKgvaksAAAAASUVO"
    "RK5CYII="
)
"""A grey image of 16x16 pixels."""
_DIGEST = "sha256:701f399d2e8cc5b1f2b2a2ce9a5aeb8b59c76ea4bb4f0a1c1ea1d1e9d3ad5f10"

OFFER = """\
v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 127.0.0.1
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuv
a=setup:actpass
a=fingerprint:sha-256 {fingerprint}
""".format(fingerprint=":".join(["00"] * 32))
"""Smallest SDP offer of a camera. Its peer never connects, so that the stream ends by itself."""

_INFER_SCRIPT = """\
import json, math, sys
inputs = json.load(sys.stdin)["inputs"]
for tensor in inputs:
    tensor["shape"][0] = 1  # one row
    tensor["data"] = [0] * math.prod(tensor["shape"])
print(json.dumps({"inputs": inputs}))
"""


def _infer_command(model: str) -> str:
    """Returns the command that runs a model on zeros, with the shapes of its own metadata.

    Tensors have the size of the model, so that they do not fit into a document.
    """
    return (
        f"curl {SERVICE}/v2/models/{model} | python3 -c '{_INFER_SCRIPT}' | \\\n"
        f"curl {SERVICE}/v2/models/{model}/infer -H 'Content-Type: application/json' -d @-"
    )


COMMANDS = {
    "segment": f"curl {SERVICE}/v1/segment -F image=@photo.jpg -F output=cutout -o cutout.png",
    "segment_binary": f"curl '{SERVICE}/v1/segment/binary?output=composite&background=blur:4' "
    "-H 'Content-Type: image/jpeg' --data-binary @photo.jpg -o blurred.png",
    "segment_json": f"curl {SERVICE}/v1/segment/json -H 'Content-Type: application/json' "
    f'-d \'{{"image": "{PNG_BASE64}"}}\'',
    "segment_report": f"curl {SERVICE}/v1/segment/report -F image=@photo.jpg -F person=dominant",
    "segment_batch": f"curl {SERVICE}/v1/segment/batch -F image=@a.jpg -F image=@b.jpg -o results",
    "removebg": f"curl {SERVICE}/v1.0/removebg -F image_file=@photo.jpg -F size=auto -o cutout.png",
    "account": f"curl {SERVICE}/v1.0/account",
    "remove": f"curl {SERVICE}/api/remove -F file=@photo.jpg -o cutout.png",
    "remove_from_url": f"curl '{SERVICE}/api/remove?url=http://example.org/photo.jpg'",
    "list_models": f"curl {SERVICE}/v1/models",
    "capabilities": f"curl {SERVICE}/v1/capabilities",
    "begin_stream": f"curl '{SERVICE}/v1/webrtc?output=composite' "
    f"-i -H 'Content-Type: application/sdp' --data-binary '{OFFER}'",
    "change_stream": f"curl -X PATCH {SERVICE}/v1/webrtc/STREAM "
    "-H 'Content-Type: application/json' -d '{\"background\": \"blur:4\"}'",
    "end_stream": f"curl -X DELETE {SERVICE}/v1/webrtc/STREAM",
    "server_metadata": f"curl {SERVICE}/v2",
    "live": f"curl {SERVICE}/v2/health/live",
    "ready": f"curl {SERVICE}/v2/health/ready",
    "model_metadata": f"curl {SERVICE}/v2/models/connectnet",
    "model_metadata_of_version": f"curl {SERVICE}/v2/models/connectnet/versions/1",
    "model_ready": f"curl {SERVICE}/v2/models/connectnet/ready",
    "model_ready_of_version": f"curl {SERVICE}/v2/models/connectnet/versions/1/ready",
    "model_config": f"curl {SERVICE}/v2/models/connectnet/config",
    "model_config_of_version": f"curl {SERVICE}/v2/models/connectnet/versions/1/config",
    "all_statistics": f"curl {SERVICE}/v2/models/stats",
    "model_statistics": f"curl {SERVICE}/v2/models/connectnet/stats",
    "model_statistics_of_version": f"curl {SERVICE}/v2/models/connectnet/versions/1/stats",
    "repository_index": f"curl -X POST {SERVICE}/v2/repository/index",
    "infer": _infer_command("connectnet"),
    "infer_of_version": _infer_command("connectnet/versions/1"),
    "livez": f"curl {SERVICE}/livez",
    "readyz": f"curl {SERVICE}/readyz",
    "metrics": f"curl {SERVICE}/metrics",
}
"""Command of curl for each operation.

`photo.jpg` and the like are photos of the reader. STREAM is the id in the `Location` of a stream.
"""

_REPORT = {
    "request_id": "11b2e5feb3241c673471cc3801bfbb2c",
    "output": "mask",
    "model": {"name": "unet", "digest": _DIGEST, "backend": "CPUExecutionProvider"},
    "photo": {"width": 512, "height": 512, "colour": "srgb"},
    "foreground": {
        "present": True,
        "doubtful": False,
        "box": {"top": 16, "left": 0, "width": 509, "height": 496},
        "pieces": [],
    },
    "mask": {
        "coverage": 0.4254,
        "connectivity": 0.9999,
        "islands": 2,
        "holes": 0,
        "confidence": 0.7836,
    },
    "domain": None,
    "face_ratio": None,
    "looks": 1,
    "timings_ms": {
        "decode": 2.1,
        "route": 0.0,
        "queue": 0.1,
        "infer": 52.0,
        "post": 11.1,
        "encode": 0.5,
    },
    "image": {"width": 512, "height": 512, "media_type": "image/png", "data": PNG_BASE64},
}
_MODEL = {
    "name": "connectnet",
    "task": "segmentation",
    "version": 1,
    "digest": _DIGEST,
    "height": 192,
    "width": 192,
    "resize": "stretch",
    "inputs": ["image"],
    "precision": "float32",
    "max_batch": 16,
    "metrics": {"eg1800": {"photos": 135.0, "miou_image_mean": 94.43}},
    "licence": "LicenseRef-Silhouette-Weights",
    "run": "connectnet-7",
    "provider": "CPUExecutionProvider",
    "ready": True,
}
_CAPABILITIES = {
    "version": "0.2.0",
    "limits": {
        "image_bytes": 33554432,
        "batch_images": 32,
        "batch_body_bytes": 67108864,
        "pixels": 64000000,
        "side": 16384,
        "aspect": 50.0,
        "frames": 1,
        "read_timeout_s": 10.0,
        "queue_timeout_s": 2.0,
        "request_timeout_s": 10.0,
    },
    "formats": {"input": ["jpeg", "png"], "output": ["jpeg", "png"]},
    "parameters": {"grow": {"type": "integer", "minimum": -100, "maximum": 100, "default": 0}},
    "models": ["unet"],
    "streams": ["websocket"],
    "stream_limits": {
        "streams": 16,
        "streams_per_caller": 4,
        "message_bytes": 4194304,
        "frame_pixels": 8847360,
        "idle_s": 30.0,
        "max_s": 3600.0,
    },
    "stream_parameters": {"smoothing": {"type": "number", "minimum": 0, "maximum": 1}},
}
_TIMES = {"count": 1, "ns": 56314718}
_STATISTICS = {
    "model_stats": [
        {
            "name": "connectnet",
            "version": "1",
            "last_inference": 1796110267382,
            "inference_count": 1,
            "execution_count": 1,
            "inference_stats": dict.fromkeys(
                (
                    *("success", "fail", "queue", "compute_input", "compute_infer"),
                    *("compute_output", "cache_hit", "cache_miss"),
                ),
                _TIMES,
            ),
            "batch_stats": [],
        }
    ]
}

REQUESTS: dict[str, Any] = {
    "segment_json": {"image": PNG_BASE64, "output": "cutout"},
    "change_stream": {"background": "blur:4", "smoothing": 0.5},
    "repository_index": {"ready": True},
}
"""JSON request of each operation that takes one, except inference: its tensors are too large."""

RESPONSES: dict[str, Any] = {
    "segment_json": _REPORT,
    "segment_report": _REPORT,
    "removebg": {
        "data": {
            "result_b64": PNG_BASE64,
            "foreground_top": 16,
            "foreground_left": 0,
            "foreground_width": 509,
            "foreground_height": 496,
        }
    },
    "account": {
        "data": {
            "attributes": {
                "credits": {"total": 1000, "subscription": 0, "payg": 1000, "enterprise": 0},
                "api": {"free_calls": 50, "sizes": "all"},
            }
        }
    },
    "list_models": {"auto": "connectnet", "models": [_MODEL]},
    "capabilities": _CAPABILITIES,
    "change_stream": {
        "model": "rcrnet",
        "output": "composite",
        "background": "blur:4",
        "size": None,
        "smoothing": 0.5,
        "threshold": None,
        "grow": 0,
        "feather": 0.0,
        "invert": False,
    },
    "server_metadata": {
        "name": "silhouette",
        "version": "0.2.0",
        "extensions": ["binary_tensor_data", "model_configuration", "statistics"],
    },
    "live": {"live": True},
    "ready": {"ready": True},
    "model_metadata": {
        "name": "connectnet",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 192, 192, 3]}],
        "outputs": [{"name": "alpha", "datatype": "UINT8", "shape": [-1, 192, 192]}],
    },
    "model_ready": {"name": "connectnet", "ready": True},
    "model_config": {
        "name": "connectnet",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [1]}},
        "max_batch_size": 16,
        "input": [{"name": "image", "data_type": "TYPE_UINT8", "dims": [192, 192, 3]}],
        "output": [{"name": "alpha", "data_type": "TYPE_UINT8", "dims": [192, 192]}],
        "default_model_filename": "model.onnx",
        "parameters": {"sha256": {"string_value": _DIGEST.removeprefix("sha256:")}},
    },
    "all_statistics": _STATISTICS,
    "model_statistics": _STATISTICS,
    "repository_index": [
        {"name": "connectnet", "version": "1", "state": "READY", "reason": ""},
    ],
    "livez": {"status": "ok"},
    "readyz": {"status": "ready"},
}
"""JSON result of each operation that has one, except inference."""


def add_examples(operation: dict[str, Any]) -> None:
    """Adds to an operation of the OpenAPI document its command, JSON request and JSON result."""
    name = operation["operationId"]
    operation["description"] += f"\n\n```sh\n{COMMANDS[name]}\n```"
    base = name.removesuffix("_of_version")
    request = operation.get("requestBody", {}).get("content", {})
    if JSON in request and base in REQUESTS:
        request[JSON]["example"] = REQUESTS[base]
    for status, response in operation["responses"].items():
        if status.startswith("2") and JSON in response.get("content", {}) and base in RESPONSES:
            response["content"][JSON]["example"] = RESPONSES[base]
