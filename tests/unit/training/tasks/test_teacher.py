"""Tests of distillation: masks of the teachers, and the weights that train."""

import pytest
import torch
import torch.nn.functional as F

from tests.support.made_tasks import SIZE, make_batch, make_recipe, total_loss, training_model
from training.losses.cross_entropy import cross_entropy
from training.models import BUILDERS, build_model
from training.tasks import build_task

TEACHER = {"model": "trisenet", "size_hw": (96, 96)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("weights")
    for name in sorted(BUILDERS.keys() - {"face_detector"}):
        torch.save({"average": build_model(name, {}).state_dict()}, folder / f"{name}.pt")
    return folder


@pytest.mark.parametrize("student", ["connectnet", "rcrnet", "trisenet"])
def test_teacher_masks_of_the_plain_view_are_targets(data, weights, student):
    sizes = {
        "trisenet": (96, 96),
        "connectnet": (32, 64),
        "rcrnet": (64, 64),
        "md_trisenet": (64, 96),
    }
    teachers = [
        {"model": name, "size_hw": size, "weights": weights / f"{name}.pt"}
        for name, size in sizes.items()
    ]
    losses = {"distillation": 0.5, "consistency": 0.0}
    task = build_task(make_recipe(student, losses, teachers=teachers), data)
    task_without_teachers = build_task(make_recipe(student, losses), data)
    batch = make_batch(task, [0, 1, 2, 3])
    terms = task.losses(training_model(task, student), batch)
    expected = task_without_teachers.losses(training_model(task_without_teachers, student), batch)
    masks = []
    for name, size in sizes.items():
        teacher = build_model(name, {}).eval()
        teacher.load_state_dict(torch.load(weights / f"{name}.pt")["average"])
        resized = F.interpolate(batch.plain.float(), size, mode="bilinear")
        extra = (batch.domain,) if name == "md_trisenet" else ()
        mask = teacher(resized, *extra).softmax(1)[:, 1:]
        masks.append(F.interpolate(mask, SIZE, mode="bilinear")[:, 0])
    logits = {
        "connectnet": lambda model: model(batch.image.float()),
        "rcrnet": lambda model: model.with_edges(batch.image.float(), batch.prior.float())[0],
        "trisenet": lambda model: model(batch.image.float()),
    }[student](training_model(task, student))
    expected["distillation"] = 0.5 * cross_entropy(logits, sum(masks) / 4)
    assert terms.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(terms[name], term, rtol=1e-4, atol=1e-5, msg=name)


def test_mirrored_teacher_returns_the_mean_of_both_views(data, weights):
    settings = {"model": "rcrnet", "size_hw": (64, 64), "weights": weights / "rcrnet.pt"}
    task = build_task(
        make_recipe("connectnet", teachers=[settings, settings | {"mirrored": True}]), data
    )
    plain_teacher, mirrored_teacher = task.teachers
    batch = make_batch(task, [0, 1])
    photos, domain = batch.plain, batch.domain
    plain_mask, mirrored_mask = (
        plain_teacher(photos, domain),
        plain_teacher(photos.flip(-1), domain).flip(-1),
    )
    assert (mirrored_mask - plain_mask).abs().max() > 0.01
    torch.testing.assert_close(mirrored_teacher(photos, domain), (plain_mask + mirrored_mask) / 2)


def test_teacher_masks_are_empty_in_photos_without_people(data, weights):
    settings = {"model": "rcrnet", "size_hw": (64, 64), "weights": weights / "rcrnet.pt"}
    task = build_task(make_recipe("connectnet", teachers=[settings]), data)
    batch = make_batch(task, [0, 1])
    truth = batch.truth.clone()
    truth[1] = 0
    terms = task.losses(training_model(task, "connectnet"), batch._replace(truth=truth))
    (teacher,) = task.teachers
    mask = teacher(batch.plain, batch.domain)
    assert mask[1].max() > 0.01
    mask[1] = 0
    logits = training_model(task, "connectnet")(batch.image.float())
    torch.testing.assert_close(terms["distillation"], cross_entropy(logits, mask))


def test_teacher_weights_are_not_trained(data, weights):
    settings = TEACHER | {"weights": weights / "trisenet.pt"}
    task = build_task(make_recipe("connectnet", teachers=[settings]), data)
    model = training_model(task, "connectnet")
    total_loss(task.losses(model, make_batch(task, [0, 1]))).backward()
    assert all(p.grad is not None for p in model.parameters())
    (teacher,) = task.teachers
    assert not any(p.requires_grad for p in teacher.network.parameters())


def test_teacher_without_weights_raises_os_error(data, tmp_path):
    settings = TEACHER | {"weights": tmp_path / "none.pt"}
    with pytest.raises(OSError, match=r"none\.pt"):
        build_task(make_recipe("connectnet", teachers=[settings]), data)
