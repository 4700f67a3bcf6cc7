"""Checks the tables, intervals, orders and timed batches of the report."""

import numpy as np
import pytest

from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.spec import ModelTask
from tests.support.made_report import NAMES, write_report_pack, write_report_repository
from tests.support.tiny_model import tiny_spec
from training.data.dataset import read_portraits
from training.evaluation.metrics import Estimate, MaskScore, score_mask
from training.evaluation.specs import find_specs
from training.report import plots, scores
from training.report.accuracy import comparison_pairs, differences_text, targets_text
from training.report.inputs import QUICK_RUN, ReportInputs
from training.report.markdown import figure, signed, table
from training.report.results import Results
from training.report.scores import DETECTED_DOMAIN, NO_FACE_DOMAIN, REFERENCE_DOMAIN, ModelScores
from training.report.timing import BATCH_SIZES, CPU, CUDA, providers, repeated_inputs, setups


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_report_pack(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return write_report_repository(tmp_path_factory.mktemp("model_repository"))


def test_policies_with_equal_domains_have_equal_scores(data):
    """A prediction depends on the domain alone, and is computed once for each."""
    portraits = read_portraits(data, "val")
    predictions = []

    def predict_mask(portrait, domain):
        predictions.append((portrait.id, domain))
        return np.full((64, 64), 255 if domain is Domain.NO_FACE else 0, np.uint8)

    policies = {"one": lambda portrait: portrait.domain, "other": lambda _: Domain.NO_FACE}
    one, other = scores.score_policies(tiny_spec("md_trisenet"), predict_mask, policies, portraits)
    assert len(predictions) == len(set(predictions)) < 2 * len(portraits)
    for portrait, first, second in zip(portraits, one.scores, other.scores, strict=True):
        assert (first == second) == (portrait.domain is Domain.NO_FACE)


def test_policies_exist_only_for_models_with_domains():
    assert list(scores.domain_policies(tiny_spec(), detect_faces=None)) == [""]
    assert list(scores.domain_policies(tiny_spec("md_trisenet"), detect_faces=None)) == [
        REFERENCE_DOMAIN,
        NO_FACE_DOMAIN,
    ]
    with_faces = scores.domain_policies(tiny_spec("md_trisenet"), detect_faces=lambda _: [])
    assert list(with_faces) == [REFERENCE_DOMAIN, DETECTED_DOMAIN, NO_FACE_DOMAIN]


def test_face_policy_without_a_face_is_no_face(data):
    domain = scores.detected_domain_policy(lambda _: [], min_size=(64, 64))
    assert {domain(portrait) for portrait in read_portraits(data, "val")} == {Domain.NO_FACE}


def test_groups_split_photos_by_source_and_domain(data):
    portraits = read_portraits(data, "val")
    groups = scores.group_portraits(portraits)
    assert groups[0].rows == tuple(range(len(portraits)))
    for kind in ("source", "domain"):
        rows = [row for group in groups if group.kind == kind for row in group.rows]
        assert sorted(rows) == list(range(len(portraits)))
    for group in groups:
        if group.kind == "domain":
            assert {portraits[row].domain.label for row in group.rows} == {group.name}


def model_scores_of(name: str, *shares: float, policy: str = "") -> ModelScores:
    """Returns the scores of a model with masks of those shares of a square."""
    truth = np.zeros((20, 20), bool)
    truth[5:15, 5:15] = True
    rows: list[MaskScore] = []
    for share in shares:
        answer = truth.copy()
        answer[5 + round(10 * share) :] = False
        rows.append(score_mask(answer, truth))
    return ModelScores(tiny_spec(name), policy, tuple(rows))


def test_worst_cases_come_first_with_ties_in_order():
    assert scores.worst_cases(model_scores_of("connectnet", 1.0, 0.2, 0.5, 0.2), 3) == [1, 3, 2]


def test_worst_cases_of_some_photos_leave_out_the_others():
    assert scores.worst_cases(model_scores_of("connectnet", 1.0, 0.2, 0.5, 0.2), 2, [0, 2, 3]) == [
        3,
        2,
    ]


def test_pairs_are_models_and_policies_of_one_model():
    policies = [
        model_scores_of("md_trisenet", 1.0, policy=policy)
        for policy in (REFERENCE_DOMAIN, DETECTED_DOMAIN, NO_FACE_DOMAIN)
    ]
    compared = [
        (one.label, other.label)
        for one, other in comparison_pairs([model_scores_of("connectnet", 1.0), *policies])
    ]
    assert compared == [
        ("md_trisenet (reference domain)", "connectnet"),
        ("md_trisenet (own faces)", "connectnet"),
        ("md_trisenet (reference domain)", "md_trisenet (own faces)"),
        ("md_trisenet (reference domain)", "md_trisenet (no_face for all)"),
        ("md_trisenet (own faces)", "md_trisenet (no_face for all)"),
    ]


def test_targets_are_compared_with_values_and_rivals(data):
    photos = read_portraits(data, "val")[:12]
    all_groups = [scores.Group("all", "all", tuple(range(12)))]
    model_scores = [
        model_scores_of("connectnet", *[0.9] * 12),
        model_scores_of("md_trisenet", *[1.0] * 12, policy=REFERENCE_DOMAIN),
        model_scores_of("md_trisenet", *[0.5] * 12, policy=DETECTED_DOMAIN),
    ]
    inputs = ReportInputs(
        quick=False,
        size=QUICK_RUN,
        data=data,
        repository=data,
        models=[],
        predictors={},
        detect_faces=None,
        portraits=photos,
        backgrounds=[],
        groups=all_groups,
    )
    results = Results(inputs, machine={}, model_scores=model_scores, timings=[], faces={})
    rows = [row.strip("| ").split(" | ") for row in targets_text(results).splitlines()[4:]]
    assert [(row[0], row[-1]) for row in rows] == [
        ("md_trisenet (reference domain)", "yes"),
        ("md_trisenet (reference domain)", "yes"),
        ("md_trisenet (own faces)", "no"),
        ("md_trisenet (own faces)", "no"),
    ]
    assert "md_trisenet (own faces) is beaten by connectnet" in differences_text(results)
    assert "md_trisenet (reference domain) beats connectnet" in differences_text(results)


def test_differences_are_bold_only_if_significant():
    assert figure(Estimate(94.256, 93.0, 95.5, photos=20)) == "94.26 (93.00 to 95.50)"
    assert figure(Estimate(94.256, 94.256, 94.256, photos=1)) == "94.26"
    assert signed(Estimate(1.0, 0.5, 1.5, photos=20)) == "**+1.00 (+0.50 to +1.50)**"
    assert signed(Estimate(-1.0, -2.5, 0.5, photos=20)) == "-1.00 (-2.50 to +0.50)"
    assert signed(Estimate(1.0, 1.0, 1.0, photos=1)) == "+1.00"


def test_table_has_a_column_for_each_head():
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize("name", NAMES)
def test_timed_batch_has_the_requested_length(name):
    rows = repeated_inputs(tiny_spec(name), 8)
    assert {len(value) for value in rows.values()} == {8}
    assert set(rows) == {tensor.name for tensor in tiny_spec(name).inputs}


def test_timed_batch_contains_every_domain():
    assert set(repeated_inputs(tiny_spec("md_trisenet"), 8)["domain"].tolist()) == {*Domain}


def test_setups_respect_the_maximum_batch_size():
    spec = tiny_spec(max_batch=4)
    assert {setup.batch for setup in setups(spec)} == {size for size in BATCH_SIZES if size <= 4}
    assert {setup.provider for setup in setups(spec)} == {*providers()} <= {CPU, CUDA}


def test_find_specs_separates_segmentation_from_faces(repository):
    named = [spec.name for spec in find_specs(repository, ModelTask.SEGMENTATION)]
    assert named == ["connectnet", "md_trisenet", "rcrnet"]
    assert [spec.name for spec in find_specs(repository, ModelTask.FACES)] == ["face_detector"]


def test_error_bars_are_never_negative(tmp_path):
    """Rounding may put an interval end past the mean, which matplotlib rejects."""
    rounded = Estimate(95.0, 95.0 + 1e-12, 95.0 - 1e-12, photos=20)
    plots.plot_bars(["all"], {"connectnet": [rounded]}, tmp_path / "bars.png", label="mIoU")
    plots.plot_tradeoff(
        [plots.TradeoffPoint("connectnet", 5.0, rounded)],
        tmp_path / "time.png",
        time="ms",
        accuracy="%",
    )
    assert {file.name for file in tmp_path.iterdir()} == {"bars.png", "time.png"}


def test_tint_colours_the_person_and_dims_the_rest():
    photo = np.full((2, 2, 3), 100, np.uint8)
    person = np.array([[True, False], [False, False]])
    shaded = plots.tint_person(photo, person)
    assert shaded[0, 0, 0] > 100 > shaded[0, 0, 1]
    assert (shaded[~person] == 45).all()
