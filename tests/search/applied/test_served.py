"""Final models as one file of each form: every model, with each preprocessing that fits into it."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from final_models import PIXELS, stored
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from data_utils.split.prepare import prepare
from search.applied import model_files
from search.applied.export import TOLERANCE, about, compare, export
from search.applied.model_files import FORMS, form_of
from search.applied.served import Predictor, predict, read_tensors, serve
from search.command.applying import ExportSettings
from search.errors import SearchFailed, UsageError
from search.final.members import MODEL_FILE, StoredModel, load_member, member_logits
from search.final.stored_ensemble import StoredEnsemble, StoredPart
from studies.records import to_json
from studies.report.page import REPORT_JSON

CNN = {"depth": 2, "width": 16, "residual": True}


def members_of(model: StoredModel, folder: Path) -> list[list[nn.Module]]:
    return [[load_member(model, folder, number) for number in range(2)]]


def serving(model: StoredModel, folder: Path) -> Predictor:
    return partial(predict, serve(model, members_of(model, folder), 50))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "changed", "preprocess"),
    [
        ("cnn", CNN, "none"),
        ("cnn", CNN | {"normalisation": "group", "pooling": "max", "activation": "gelu"}, "standardise"),
        ("cnn", CNN | {"residual": False, "activation": "silu"}, "reinhard"),
    ],
    ids=["cnn", "cnn-standardise", "cnn-reinhard"],
)
def test_a_file_says_what_pytorch_says(
    tmp_path: Path, form: str, name: str, changed: dict[str, object], preprocess: str
) -> None:
    model = stored(tmp_path, name, changed, preprocess=preprocess)
    file, side = tmp_path / "model", PIXELS.shape[1]
    FORMS[form].write(file, model, members_of(model, tmp_path), side, about(model, side))
    served = FORMS[form].open(file)
    check = compare(model, tmp_path, PIXELS, served)
    assert check.patches == len(PIXELS)
    assert check.logit <= TOLERANCE, str(check)
    assert check.probability <= TOLERANCE / 4
    logit, probability, called = served(PIXELS[:1])  # any number of patches, one too
    assert (logit.shape, probability.shape, called.dtype) == ((1,), (1,), np.bool_)
    assert len(np.unique(served(PIXELS)[0].round(4))) == len(PIXELS)


@pytest.mark.parametrize("form", FORMS)
def test_an_ensemble_is_one_file_as_well(tmp_path: Path, form: str) -> None:
    (tmp_path / "cnn").mkdir()
    one = stored(tmp_path / "cnn", "cnn", CNN, preprocess="standardise")
    other = replace(one, members=one.members[1:], temperature=0.6)
    ensemble = StoredEnsemble("s", (StoredPart(3, one), StoredPart(1, other)), 1.4, 0.45, "p")
    (both,), ((_, second),) = members_of(one, tmp_path / "cnn"), members_of(one, tmp_path / "cnn")
    FORMS[form].write(tmp_path / "model", ensemble, [both, [second]], 50, about(ensemble, 50))
    served = FORMS[form].open(tmp_path / "model")
    check = compare(ensemble, tmp_path, PIXELS, served)
    assert check.logit <= TOLERANCE, str(check)
    logits = [member_logits(part.stored, tmp_path / "cnn", PIXELS, "cpu", lambda *_: None).mean(axis=1)
              for part in ensemble.parts]  # fmt: skip
    mean = (3 * logits[0] / 1.7 + logits[1] / 0.6) / 4
    np.testing.assert_allclose(served(PIXELS)[0], mean / 1.4, atol=1e-3)
    assert (served(PIXELS)[2] == (served(PIXELS)[1] >= 0.45)).all()


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_layers_that_members_share_are_in_a_file_once(tmp_path: Path, form: str) -> None:
    model = stored(tmp_path, "vgg16", {"frozen_blocks": 5, "joined_blocks": 3, "head_width": 0, "input_size": 64})
    FORMS[form].write(tmp_path / "m", model, members_of(model, tmp_path), 50, {})
    check = compare(model, tmp_path, PIXELS[:2], FORMS[form].open(tmp_path / "m"))
    assert check.logit <= TOLERANCE, str(check)  # frozen layers hand on bf16, which each runtime rounds alike
    assert (tmp_path / "m").stat().st_size < 1.1 * (tmp_path / "member_0.safetensors").stat().st_size


def test_what_is_to_be_known_is_in_each_file(tmp_path: Path) -> None:
    model = stored(tmp_path, "cnn", CNN)
    for name, form in FORMS.items():
        form.write(tmp_path / name, model, members_of(model, tmp_path), 50, about(model, 50))
    (tmp_path / "plain").touch()
    assert {(tmp_path / name).stat().st_mode for name in FORMS} == {(tmp_path / "plain").stat().st_mode}
    said = {one.key: one.value for one in onnx.load(tmp_path / "onnx").metadata_props}
    with safe_open(tmp_path / "safetensors", framework="pt") as file:
        assert file.metadata() == said
    inside = {model_files.ABOUT_FILE: b""}
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.jit.load(tmp_path / "torchscript", _extra_files=inside)
    assert json.loads(inside[model_files.ABOUT_FILE]) == said
    assert said["temperature"] == "1.7"
    assert all(member in said["members_sha256"] for _, member in model.members)


def test_a_model_in_bf16_is_held_against_fp32_and_the_difference_is_told(tmp_path: Path) -> None:
    model = replace(stored(tmp_path, "cnn", CNN), precision="bf16")
    check = compare(model, tmp_path, PIXELS, serving(model, tmp_path))
    assert check.logit < 1e-4
    assert check.rounding is not None
    assert check.logit < check.rounding < 0.1
    assert "search.predict in bf16" in str(check)


def test_a_file_that_says_something_else_is_found(tmp_path: Path) -> None:
    model = stored(tmp_path, "cnn", CNN)
    right = serving(model, tmp_path)
    moved = compare(model, tmp_path, PIXELS, lambda pixels: (right(pixels)[0] + 0.01, *right(pixels)[1:]))
    assert moved.logit == pytest.approx(0.01, rel=0.1)
    assert moved.probability < 1e-4
    with pytest.raises(SearchFailed, match="calls patches otherwise"):
        compare(model, tmp_path, PIXELS, lambda pixels: (*right(pixels)[:2], ~right(pixels)[2]))


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_a_preprocessing_that_no_network_holds_is_refused(tmp_path: Path, form: str) -> None:
    model = stored(tmp_path, "cnn", CNN, preprocess="macenko")
    with pytest.raises(UsageError, match=r"normalised by macenko.*use --format safetensors"):
        FORMS[form].write(tmp_path / "model", model, members_of(model, tmp_path), 50, {})
    assert not (tmp_path / "model").exists()
    FORMS["safetensors"].write(tmp_path / "model", model, members_of(model, tmp_path), 50, about(model, 50))
    assert compare(model, tmp_path, PIXELS, read_tensors(tmp_path / "model")).logit <= TOLERANCE


def test_a_file_of_other_tensors_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for place in ("other.safetensors", "none.safetensors"):
        with pytest.raises(UsageError, match=f"{place} is no model that search.export .* export it again"):
            read_tensors(tmp_path / place)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"onnxruntime is not installed.*pip install 'histotune\[export\]'"):
        form_of("onnx")
    assert form_of("torchscript").needs == ""


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A final model where its comparison lies: patches and a report beside it."""
    folder = tmp_path / "name" / "cnn"
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_text(to_json(stored(folder, "cnn", CNN)))
    (folder.parent / REPORT_JSON).write_text('{"plan_digest": "p"}')
    prepare("synthetic:120", folder.parent / "data", name="name", fractions=(70, 15, 15), seed=0, lock=None)
    return folder


def refused(folder: Path, out: str, what: str, error: type[Exception] = UsageError) -> None:
    """It leaves nothing."""
    with pytest.raises(error, match=what):
        export(ExportSettings(model=folder, out=folder / "given" / out, format="torchscript"))
    assert not (folder / "given").exists() or list((folder / "given").iterdir()) == []


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(published, "x.md", "the model card takes that name; give the model another ending")
    report = published.parent / REPORT_JSON
    report.write_text('{"plan_digest": "other"}')
    refused(published, "x.pt", r"is of the plan other, the model of p: .* python -m search\.report --study s")
    report.write_text("{")
    refused(published, "x.pt", r"is no report, of which the model card is made .* python -m search\.report --study s")
    report.write_text('{"plan_digest": "p"}')
    monkeypatch.setattr("search.applied.export.card", lambda *_: "card")
    monkeypatch.setattr("search.applied.export.TOLERANCE", -1.0)
    refused(published, "x.pt", r"x\.pt was not kept: on 103 development patches it differs", SearchFailed)
    (published.parent / "data").rename(published.parent / "away")
    refused(published, "x.pt", "holds no development patches, .* python -m search.finalize --study s")


def test_a_file_comes_with_its_card_or_not_at_all(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.applied.export.card", lambda *_: "card")
    place, _ = export(ExportSettings(model=published, out=published / "given" / "x.pt", format="torchscript"))
    assert place == published / "given" / "x.md"
    assert sorted(path.name for path in (published / "given").iterdir()) == ["x.md", "x.pt"]
