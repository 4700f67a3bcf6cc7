"""Checks the gallery: renderings of the service for photos chosen by a seed."""

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from silhouette_seg.pipeline.faces import Domain
from tests.support.made_data import FACES, write_data_pack
from tests.support.tiny_model import tiny_spec, write_tiny_model
from training.data.dataset import FaceBox, Portrait, read_portraits
from training.report.gallery import (
    CROP_SIDE_PX,
    SheetRow,
    bundled_photos,
    choose_portraits,
    draw_sheet,
    edge_window,
    main,
    render_rows,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data_pack(tmp_path_factory.mktemp("data"), val=12)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model_repository")
    for name in ("connectnet", "face_detector", "md_trisenet"):
        write_tiny_model(folder, tiny_spec(name))
    return folder


def run(repository, out, *more):
    app = typer.Typer()
    app.command()(main)
    arguments = ["--repository", str(repository), "--out", str(out), *map(str, more)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def test_gallery_has_two_sheets_for_every_domain(data, repository, tmp_path):
    output = run(repository, tmp_path, "--data", data, "--each", 2)

    domains = {portrait.domain.label for portrait in read_portraits(data, "val")}
    assert len(domains) == len(FACES)
    expected = {"skimage", *domains}
    names = {file.stem for file in tmp_path.iterdir()}
    assert names == expected | {f"{name}_edges" for name in expected}
    for portrait in choose_portraits(read_portraits(data, "val"), 2, seed=0):
        assert portrait.id in output
    photo = cv2.imread(str(tmp_path / f"{domains.pop()}.jpg"))
    assert photo is not None
    assert photo.shape[1] > 5 * 300


def test_gallery_without_a_pack_shows_bundled_photos(repository, tmp_path):
    output = run(repository, tmp_path, "--data", tmp_path / "nothing")

    assert "photos of the data pack are left out" in output
    assert {file.stem for file in tmp_path.iterdir()} == {"skimage", "skimage_edges"}


async def test_rows_hold_the_renderings_of_the_service(repository):
    """The tiny model's alpha is the red of the photo, in 24x32."""
    astronaut = bundled_photos()[0]
    images_row, edges_row = await render_rows([astronaut], repository)

    assert list(images_row.pictures) == [
        "photo",
        "mask",
        "cut-out on white",
        "cut-out on magenta",
        "blurred background",
    ]
    assert {image.shape for image in images_row.pictures.values()} == {(300, 300, 3)}
    mask = images_row.pictures["mask"].astype(int)
    assert (
        np.corrcoef(mask[..., 0].ravel(), images_row.pictures["photo"][..., 0].ravel())[0, 1] > 0.8
    )
    background = mask[..., 0] < 8
    assert background.any()
    assert images_row.pictures["cut-out on white"][background].min() > 220
    assert images_row.pictures["cut-out on magenta"][background][:, 1].max() < 40
    assert list(edges_row.pictures) == [
        "photo",
        "the model alone",
        "refine",
        "decontaminate",
        "both",
    ]
    assert {image.shape for image in edges_row.pictures.values()} == {
        (CROP_SIDE_PX, CROP_SIDE_PX, 3)
    }
    model_alone = edges_row.pictures["the model alone"]
    assert (model_alone != edges_row.pictures["refine"]).any()
    assert (model_alone != edges_row.pictures["decontaminate"]).any()
    assert "md_trisenet as" in images_row.caption


def portraits(domain_ratio, sources):
    side = domain_ratio**0.5
    return [
        Portrait(f"{source}{number}", source, "g", None, None, FaceBox(0, 0, side, side))
        for source, count in sources.items()
        for number in range(count)
    ]


def test_choice_depends_on_seed_and_alternates_sources():
    many = portraits(0.2, {"large": 50, "small": 2, "tiny": 1}) + portraits(0.06, {"large": 9})
    chosen = choose_portraits(many, 4, seed=1)

    assert chosen == choose_portraits(many, 4, seed=1)
    assert chosen != choose_portraits(many, 4, seed=2)
    assert [portrait.domain for portrait in chosen] == 4 * [Domain.HALF_BODY] + 4 * [
        Domain.CLOSE_SHOT
    ]
    assert {portrait.source for portrait in chosen[4:7]} == {"large", "small", "tiny"}


def test_edge_window_covers_the_soft_upper_edge():
    alpha = np.zeros((400, 600), np.uint8)
    alpha[100:] = 255
    alpha[100:110, 450:500] = 128
    alpha[350:, 20:200] = 128
    rows, columns = edge_window(alpha, 60)

    assert (rows.stop - rows.start, columns.stop - columns.start) == (60, 60)
    assert rows.start <= 100
    assert rows.stop >= 110
    assert columns.start <= 450
    assert columns.stop >= 500


@pytest.mark.parametrize("level", [0, 255])
def test_edge_window_without_an_edge_is_centred(level):
    alpha = np.full((50, 100), level, np.uint8)

    assert edge_window(alpha, 40) == (slice(5, 45), slice(30, 70))
    assert edge_window(alpha, 80) == (slice(0, 50), slice(10, 90))


def test_sheet_is_as_wide_as_its_widest_row():
    narrow, wide = (np.zeros((30, width, 3), np.uint8) for width in (10, 700))
    text_row = SheetRow("s", "words " * 20, {"a": narrow, "b": narrow})
    picture_row = SheetRow("s", "x", {"a": wide, "b": wide})

    single, double = draw_sheet([text_row]), draw_sheet([text_row, picture_row])
    assert single.shape[1] > 200
    assert double.shape[1] > 1400
    assert double.shape[0] == 2 * single.shape[0]
