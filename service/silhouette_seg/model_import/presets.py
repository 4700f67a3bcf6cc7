"""Processing of well-known published networks, each with the reference of its numbers."""

from dataclasses import dataclass, replace

from silhouette_seg.model_import.processing import Activation, Processing, Scale, Triple
from silhouette_seg.spec import ResizeRule

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
HALF: Triple = (0.5, 0.5, 0.5)
ZERO: Triple = (0.0, 0.0, 0.0)
ONE: Triple = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Preset:
    """Processing of one published network."""

    processing: Processing
    reference: str
    """Repository and file that the numbers come from."""
    note: str = ""
    """Differences from the reference, and choices between several."""
    tested: bool = False
    """True if the preset has been compared with the reference on published weights."""


U2NET = Preset(
    Processing((320, 320), IMAGENET_MEAN, IMAGENET_STD, Activation.MINMAX, scale=Scale.MAXIMUM),
    reference="github.com/xuebinqin/U-2-Net: u2net_test.py, data_loader.py",
)

BIREFNET = Preset(
    Processing((1024, 1024), IMAGENET_MEAN, IMAGENET_STD, Activation.SIGMOID, multiple=32),
    reference="github.com/ZhengPeng7/BiRefNet: inference.py, dataset.py",
    note="rembg divides by the maximum of the photo and stretches the mask; the authors do not.",
)

PRESETS = {
    "isnet": Preset(
        Processing((1024, 1024), HALF, ONE, Activation.MINMAX),
        reference="github.com/xuebinqin/DIS: IS-Net/Inference.py",
        note="rembg subtracts the ImageNet mean and divides by the maximum of the photo.",
        tested=True,
    ),
    "u2net": U2NET,
    "u2netp": U2NET,
    "u2net_human_seg": replace(
        U2NET, reference="github.com/xuebinqin/U-2-Net: u2net_human_seg_test.py, data_loader.py"
    ),
    "silueta": replace(
        U2NET, reference="github.com/danielgatis/rembg: rembg/sessions/silueta.py, base.py"
    ),
    "birefnet": BIREFNET,
    "birefnet_lite": BIREFNET,
    "rmbg": Preset(
        Processing((1024, 1024), HALF, ONE, Activation.MINMAX),
        reference="huggingface.co/briaai/RMBG-1.4: README.md, preprocessor_config.json",
        note="For RMBG 1.4. RMBG 2.0 is a BiRefNet with the numbers of that preset.",
    ),
    "modnet": Preset(
        Processing(
            (512, 512), HALF, HALF, Activation.NONE, resize=ResizeRule.LETTERBOX, multiple=32
        ),
        reference="github.com/ZHKKKe/MODNet: onnx/inference_onnx.py",
        note="The reference scales the shorter side to 512. Here the longer side is 512, because "
        "the input of a served model has one size.",
    ),
    "pp_humanseg": Preset(
        Processing((192, 192), HALF, HALF, Activation.NONE, channel=1),
        reference="github.com/PaddlePaddle/PaddleSeg: contrib/PP-HumanSeg/src/infer.py, "
        "contrib/PP-HumanSeg/configs/human_pp_humansegv2_lite.yml, "
        "paddleseg/transforms/transforms.py",
        note="For models exported with softmax. Others need --activation softmax.",
    ),
    "mediapipe_selfie": Preset(
        Processing((256, 256), ZERO, ONE, Activation.NONE),
        reference="github.com/google-ai-edge/mediapipe: "
        "mediapipe/modules/selfie_segmentation/selfie_segmentation_cpu.pbtxt",
        note="The landscape model needs --size 144x256. Converters from TFLite keep its layout: "
        "most need --layout nhwc, which is found by itself if the shape of the input is fixed.",
    ),
}
"""Preset by its name. Both sizes of U-2-Net and of BiRefNet share their numbers."""
