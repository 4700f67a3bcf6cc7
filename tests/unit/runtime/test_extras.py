import pytest

from silhouette_seg.errors import InstallationError
from silhouette_seg.runtime import extras
from silhouette_seg.runtime.extras import check_runtime, require


def test_missing_module_names_the_extra_to_install():
    with pytest.raises(InstallationError, match=r"Videos need nosuchav.*silhouette-seg\[video\]"):
        require("nosuchav", "Videos", "video")


def test_installed_module_is_accepted_without_loading_it():
    require("this", "Poems", "poems")


def test_single_runtime_is_accepted():
    check_runtime()


def test_conflicting_runtimes_are_rejected_by_name(monkeypatch):
    monkeypatch.setattr(extras, "_is_distribution", {"onnxruntime", "onnxruntime-gpu"}.__contains__)
    with pytest.raises(InstallationError, match="onnxruntime and onnxruntime-gpu install the same"):
        check_runtime()


def test_runtime_that_no_distribution_provides_is_accepted(monkeypatch):
    monkeypatch.setattr(extras, "_is_distribution", lambda _: False)
    check_runtime()


def test_absent_runtime_names_both_extras(monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda _: False)
    with pytest.raises(InstallationError, match=r"silhouette-seg\[cpu\].*silhouette-seg\[gpu\]"):
        check_runtime()
