"""What the report says of a margin, of patients and patches, and of numbers that rest on too little."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image
from scipy.special import expit
from sklearn import metrics as sk

from studies.errors import RecordError
from studies.final_models import Control, ControlPart, Fit, Gain
from studies.findings.findings import find
from studies.findings.predictions import load_predictions, save_predictions
from studies.records import Predictions, ReportData
from studies.report.card import Exported, card
from studies.report.page import write_report
from tests.studies import made_up

SCORES = ("logits", "probabilities")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return made_up.report_data(tmp_path_factory.mktemp("small"), trials=4, patients=24, draws=200)


def test_a_margin_of_the_plan_stands_in_the_verdict_and_beside_the_tests(tmp_path: Path) -> None:
    data = made_up.report_data(tmp_path / "pictures", skill=(2.6, 2.6), trials=4, patients=60, draws=200)
    planned = replace(data, plan=replace(data.plan, margin=0.1))
    text = write_report(planned, tmp_path).read_text(encoding="utf-8")
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert numbers["margin"] == 0.1
    assert (numbers["verdict"]["winner"], numbers["verdict"]["claim"]) == (None, "equivalent")
    assert "cnn and vgg16 are equivalent within an AUC of 0.1" in numbers["verdict"]["headline"].replace(
        "vgg16 and cnn", "cnn and vgg16"
    )
    assert "Planned before: a difference of AUC below" in text
    assert find(data).verdict.claim == "none", "without a plan nothing is claimed"


def test_who_lies_outside_is_farther_than_all_but_a_few(small: ReportData, tmp_path: Path) -> None:
    page = write_report(small, tmp_path).read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]+>", "", page[page.index('id="closer"') :]).split())
    drift = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["closer"]["drift"]
    known = drift["development"]
    assert f"farther from the {known} development patients than all but 5.0 % of these are from all others" in text
    told = [
        "Sharpness stands here as its logarithm." in text,
        "sharpness" in [one["measure"] for one in drift["shifts"]],
    ]
    assert told in ([True, True], [False, False])
    far = [one["distance"] for one in drift["places"] if one["part"] == "development"]
    assert sum(one > 1 for one in far) <= 0.05 * known
    assert f"{drift['outside']} of {drift['test']} test patients {'does' if drift['outside'] == 1 else 'do'}." in text


def test_over_patches_and_over_patients_stand_side_by_side(small: ReportData, tmp_path: Path) -> None:
    text = write_report(small, tmp_path).read_text(encoding="utf-8")
    shown = set(re.findall(r'data-path="([^"]+)"', text))
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    for name in ("cnn", "vgg16"):
        for metric in ("auc", "balanced_accuracy", "sensitivity", "specificity"):
            for of in ("patches", "patients", "difference"):
                assert f"/estimands/{name}/metrics/{metric}/{of}/value" in shown
        assert numbers["estimands"][name]["metrics"]["auc"]["patches"] == numbers["models"][name]["test"]["auc"]


def test_gain_race_and_ensemble_are_told(small: ReportData, tmp_path: Path) -> None:
    text = write_report(small, tmp_path).read_text(encoding="utf-8")
    first = text[text.index('id="summary"') : text.index('id="data"')]
    assert "The search gained 0.007 AUC (0.003 to 0.011) over the default configuration, out of fold." in first
    assert "whichever fold is left out, the default configuration is the best" in first
    assert re.search(r"dropped after <data[^>]*>2</data> folds: <data[^>]*>0\.031</data> below best", text)
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    row = numbers["models"]["cnn"]["overtuning"][2]
    assert (row["configuration"], row["dropped"]["folds"], row["out_of_fold_auc"]) == ("finalist-2", 2, None)
    found = numbers["ensemble"]
    assert found["verdict"]["headline"] in first
    assert "Ensemble, the final model: AUC" in first
    assert re.search(r'Out of fold, over vgg16 alone: AUC <data [^>]*data-path="/ensemble/gain/value"', first)
    assert (found["single"], found["chosen"], found["cost"]["networks"]) == ("vgg16", True, 10)
    assert found["cost_of_single"]["parameters"] < found["cost"]["parameters"]
    mean = (small.test.logits["cnn"] + small.test.logits["vgg16"]) / 2
    assert found["auc"]["value"] == pytest.approx(sk.roc_auc_score(small.test.labels, mean))
    single = numbers["models"]["vgg16"]["test"]["auc"]["value"]
    assert found["comparison"]["primary"]["value"] == pytest.approx(found["auc"]["value"] - single)
    assert len(numbers["comparisons"]) == 1, "its test is of no family of the models'"
    assert "was not trained" in text
    without = find(replace(small, plan=replace(small.plan, ensemble=None, neighbours=None)))
    assert without.ensemble is None
    assert without.neighbours is None


def test_what_neighbours_gain_is_told_or_why_there_are_none(small: ReportData, tmp_path: Path) -> None:
    text = write_report(small, tmp_path).read_text(encoding="utf-8")
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["neighbours"]
    assert (found["of"], found["weights"]["own"], found["usual"]) == ("ensemble", 0.6, 6.4)
    logits = small.test.logits["neighbours"]
    assert found["auc"]["value"] == pytest.approx(sk.roc_auc_score(small.test.labels, logits))
    ensemble = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["ensemble"]
    assert found["comparison"]["primary"]["value"] == pytest.approx(found["auc"]["value"] - ensemble["auc"]["value"])
    assert "ensemble with neighbours" in found["verdict"]["headline"]
    assert found["verdict"]["headline"] in text
    assert 'data-path="/neighbours/gain/value"' in text
    settings = {**small.plan.settings, "neighbours": "a development patch has 0.4 neighbours"}
    assert small.plan.ensemble is not None
    unsure = replace(small.plan.ensemble, gain=replace(small.plan.ensemble.gain, low=None, high=None, reason="of two"))
    sparse = replace(small, plan=replace(small.plan, neighbours=None, settings=settings, ensemble=unsure))
    text = write_report(sparse, tmp_path).read_text("utf-8")
    assert "was left out: a development patch has 0.4 neighbours." in text
    assert '<span class="reason">no interval: of two</span>, the mean of the differences within folds' in text
    earlier = replace(small, plan=replace(small.plan, neighbours=None))
    assert 'id="neighbours"' not in write_report(earlier, tmp_path).read_text("utf-8"), "of a plan from before"


def test_a_limit_may_leave_one_configuration_as_the_ensemble(small: ReportData, tmp_path: Path) -> None:
    """It is the single model itself, or one that is final as the chosen ones take longer than a prediction may."""
    assert small.plan.ensemble is not None
    part, test = small.plan.ensemble.parts[-1], small.test
    same = replace(test, **{of: {**(scores := getattr(test, of)), "ensemble": scores[part.model]} for of in SCORES})
    none = Gain((f"1 x {part.model} {part.label}",) * 5, 0.0, 0.0, 0.0, "", 95, 950)
    alone = replace(small.plan.ensemble, parts=(part,), gain=none)
    for only, told in ((False, "vgg16: the ensemble gained nothing"), (True, "the ensemble, as the chosen config")):
        plan = replace(small.plan, ensemble=replace(alone, alone_within=only))
        text = write_report(replace(small, test=same, plan=plan), tmp_path).read_text(encoding="utf-8")
        assert f"<dt>Final model of the comparison</dt><dd>{told}" in text
        assert ("Ensemble, the final model:" in text) == only
        found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["ensemble"]
        assert (found["chosen"], found["comparison"]["primary"]["value"]) == (only, 0)


@pytest.mark.parametrize("model", ["cnn", "ensemble"])
def test_a_model_card_has_the_numbers_of_the_model_or_the_ensemble(
    small: ReportData, tmp_path: Path, model: str
) -> None:
    write_report(small, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    report["plan"]["settings"]["choice"] = "out-of-fold AUC"
    report["environment"] |= {"processor": "made up", "cores": 2, "torch": "0"}
    about = {"histotune": "0", "preprocessing": "none", "input": "i", "output": "o", "pretrained": "made up"}
    exported = Exported("m.onnx", "onnx", "any", "a" * 64, 50, "checked", "L", {**about, "members_sha256": "[]"}, "b")
    found = ModelCard(card(report, model, exported))
    results = {one.metric_type: one for one in found.data.eval_results or []}
    assert found.data.model_name == f"{small.name}-{model}"
    told = report["ensemble"] if model == "ensemble" else report["models"][model]["test"]
    assert results["roc_auc"].metric_value == told["auc"]["value"]
    assert results["balanced_accuracy"].metric_value == told["balanced_accuracy"]["value"]
    assert (len(results) == 2) == (model == "ensemble")
    if model == "ensemble":
        assert report["ensemble"]["verdict"]["headline"] in found.text
        assert f"times {report['ensemble']['parts'][0]['model']}" in found.text


def test_the_slides_of_test_patients_stand_in_the_report(small: ReportData, tmp_path: Path) -> None:
    picture = tmp_path / "000.jpg"
    Image.new("RGB", (40, 60), "plum").save(picture)
    name = str(small.test.patients[0])
    text = write_report(replace(small, tissue={name: picture}), tmp_path).read_text(encoding="utf-8")
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["slides"]
    test = small.test
    called = test.probabilities["ensemble"] >= test.thresholds["ensemble"]
    assert sum(slide["patches"] for slide in told) == len(test.labels)
    for slide in told:
        own = test.patients == slide["name"]
        assert slide["idc"] == test.labels[own].sum()
        assert slide["missed"] == (~called & (test.labels == 1))[own].sum()
        assert slide["false_alarms"] == (called & (test.labels == 0))[own].sum()
    assert text.count("data:image/jpeg") == 1, "small and large it is the same"
    nowhere = replace(test, x=np.full_like(test.x, -1))
    without = write_report(replace(small, test=nowhere), tmp_path).read_text(encoding="utf-8")
    assert 'id="slides"' not in without
    strewn = replace(test, x=np.where(own, np.random.default_rng(0).integers(0, 10**8, len(own)), test.x))
    page = write_report(replace(small, test=strewn, tissue={}), tmp_path).read_text(encoding="utf-8")
    some = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert some["off_grid"] == [slide["name"]]
    assert [one["name"] for one in some["slides"]] == [one["name"] for one in told if one is not slide]
    assert f"Left out: {slide['name']}, whose patches have places, but lie on no grid" in page
    with pytest.raises(RecordError, match=r"gone\.jpg cannot be read"):
        write_report(replace(small, tissue={name: tmp_path / "gone.jpg"}), tmp_path)


def test_a_part_without_idc_has_no_f1(small: ReportData, tmp_path: Path) -> None:
    test = replace(small.test, labels=np.zeros_like(small.test.labels))
    found = find(replace(small, test=test)).models["cnn"].test
    assert (found["f1"].value, found["sensitivity"].value) == (None, None)
    assert found["specificity"].value is not None


@pytest.mark.parametrize("few", [(5,), (1,), (6, 4)], ids=["one patient", "one patch", "two patients"])
def test_of_one_or_two_patients_with_idc_nothing_is_told_that_rests_on_them(
    few: tuple[int, ...], tmp_path: Path
) -> None:
    data = made_up.report_data(tmp_path / "pictures", trials=4, patients=24, draws=200, few=few)
    page = write_report(data, tmp_path).read_text(encoding="utf-8")
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    reason = f"it rests on {len(few)} patient{'s' * (len(few) > 1)}; an interval takes 3"
    assert [one["name"] for one in numbers["weaknesses"]][1] == "Few patients with IDC"
    assert numbers["verdict"]["headline"].startswith("It cannot be said whether ")
    assert numbers["verdict"]["detail"].endswith(f"the test split is too small to say how sure that is ({reason}).")
    assert numbers["test_split"]["effective_patients"] <= len(few)
    for model in numbers["models"].values():
        for metric in ("auc", "average_precision", "balanced_accuracy", "f1", "sensitivity", "f1_public"):
            assert model["test"][metric]["value"] is not None
            assert (model["test"][metric]["low"], model["test"][metric]["reason"]) == (None, reason), metric
        for metric in ("specificity", "brier", "log_loss"):
            assert model["test"][metric]["low"] is not None, metric
        for curve in ("roc", "precision_recall", "net_benefit"):
            assert all(point["y"]["low"] is None for point in model["curves"][curve]), curve
    text = " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(script|style).*?</\1>", " ", page)).split())
    assert text.count(f"no interval: {reason}") > 10
    assert "No curve that takes both classes has a band." in text
    alts = {key: figure["alt"] for key, figure in numbers["figures"].items()}
    assert [key for key, alt in alts.items() if "with 95 % bands" in alt] == ["risk-coverage"]
    assert numbers["closer"]["left_open"]["cnn"]["errors"][50]["y"]["low"] is not None
    shares = [one for one in numbers["subgroups"] if one["family"] == "Performance by the patient's share of IDC"]
    assert [one["label"] for one in shares] == ["share of IDC, up to 0 %", "share of IDC, above 0 %"]
    assert [one["patients"] for one in shares] == [24 - len(few), len(few)]
    assert not re.search(r"\b[Nn]a[Nn]\b|\b1 patients\b|\bNone\b(?! of)", text)


def test_a_patient_with_one_patch_of_idc_has_an_auc_without_an_interval(small: ReportData) -> None:
    labels = small.test.labels.copy()
    own = np.flatnonzero(small.test.patients == small.test.patients[0])
    labels[own] = 0
    labels[own[0]] = 1
    rows = {row.patient: row for row in find(replace(small, test=replace(small.test, labels=labels))).patients}
    auc = rows[small.test.patients[0]].auc["cnn"]
    assert auc.value is not None
    assert (auc.low, auc.high) == (None, None)


def test_scores_rank_by_their_logits_where_probabilities_are_all_but_0_and_1(small: ReportData, tmp_path: Path) -> None:
    def steep(rows: Predictions) -> Predictions:
        logits = {entry: 400 * each for entry, each in rows.logits.items()}
        tempered = {
            entry: expit(each / (1.0 if entry in small.plan.baselines else 1.2)) for entry, each in logits.items()
        }
        return replace(rows, logits=logits, probabilities=tempered)

    save_predictions(steep(small.test), tmp_path)
    test = load_predictions(tmp_path)
    assert np.mean(np.isin(test.probabilities["cnn"], [0, 1])) > 0.6
    development = {model: steep(rows) for model, rows in small.out_of_fold.items()}
    found, gentle = find(replace(small, test=test, out_of_fold=development)), find(small)
    for name in ("cnn", "vgg16"):
        one = found.models[name]
        auc = sk.roc_auc_score(test.labels, test.logits[name])
        assert one.test["auc"].value == pytest.approx(auc)
        assert one.test["auc"] == gentle.models[name].test["auc"]
        assert one.curves.roc == gentle.models[name].curves.roc
        assert one.out_of_fold["auc"] == gentle.models[name].out_of_fold["auc"]
        assert found.estimands[name].metrics["auc"] == gentle.estimands[name].metrics["auc"]
        tempered = test.logits[name] / 1.2
        loss = np.mean(np.logaddexp(0, tempered) - test.labels * tempered)
        assert one.test["log_loss"].value == pytest.approx(loss)
        assert one.calibration_after.metrics["log_loss"].value == pytest.approx(loss)
    assert found.baselines["colour histogram"].test["auc"] == gentle.baselines["colour histogram"].test["auc"]
    assert found.comparisons[0].primary == gentle.comparisons[0].primary
    assert found.comparisons[0].naive[0] == gentle.comparisons[0].naive[0]
    assert found.comparisons[0].second_opinion == gentle.comparisons[0].second_opinion
    assert [each.auc for each in found.subgroups] == [each.auc for each in gentle.subgroups]
    assert [each.auc for each in found.patients] == [each.auc for each in gentle.patients]


def test_the_score_of_training_patients_alone_stands_beside_that_of_all(small: ReportData) -> None:
    rows = small.out_of_fold["cnn"]
    ids = np.unique(rows.patients)
    parts = tuple((str(one), "validation" if k % 5 == 0 else "train", 1, 0) for k, one in enumerate(ids))
    model = find(replace(small, data=replace(small.data, patients=parts))).models["cnn"]
    train = ~np.isin(rows.patients, ids[::5])
    chosen, default = model.overtuning[0], model.overtuning[1]
    assert chosen.training_patients_auc == pytest.approx(
        sk.roc_auc_score(rows.labels[train], rows.probabilities["cnn"][train])
    )
    assert default.training_patients_auc == pytest.approx(
        sk.roc_auc_score(rows.labels[train], rows.probabilities["cnn:default"][train])
    )
    assert model.of_validation == pytest.approx(1 - train.mean())


def test_cost_stands_beside_accuracy_and_an_old_comparison_says_that_it_was_not_measured(
    small: ReportData, tmp_path: Path
) -> None:
    text = write_report(small, tmp_path).read_text(encoding="utf-8")
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in numbers["deployed"]}
    assert list(rows)[-1] == "ensemble"
    cnn, vgg16, whole = (rows[name]["cost"] for name in ("cnn best", "vgg16 default", "ensemble"))
    assert cnn["milliseconds"] == pytest.approx(8 * 5 * 0.6)
    assert vgg16["milliseconds"] == pytest.approx(8 * (4.0 + 5 * 0.6)), "its frozen layers see a patch once"
    assert whole["milliseconds"] == pytest.approx(cnn["milliseconds"] + vgg16["milliseconds"])
    assert whole["parameters"] == cnn["parameters"] + vgg16["parameters"]
    assert rows["ensemble"]["auc"] == pytest.approx(rows["vgg16 default"]["auc"] + 0.004)
    assert [name for name, row in rows.items() if row["final"]] == ["cnn best", "vgg16 default", "ensemble"]
    assert (rows["cnn finalist-2"]["auc"], rows["cnn finalist-2"]["cost"]["networks"]) == (None, 5)
    assert "Cost beside accuracy" in text
    assert "share are run once for all, and counted among the parameters of each." in text
    assert 'data-figure-table="cost"' in text
    assert "was not measured" not in text
    old = write_report(replace(small, speeds=None), tmp_path / "old").read_text(encoding="utf-8")
    assert "How long a patch takes was not measured" in old
    assert 'data-figure-table="cost"' not in old
    without = json.loads((tmp_path / "old" / "report.json").read_text(encoding="utf-8"))["deployed"][0]["cost"]
    assert (without["milliseconds"], without["networks"]) == (None, 5)
    assert without["parameters"] > 0


def with_control(data: ReportData, gain: Gain) -> ReportData:
    """As if the ensemble's control had been put to the test as well."""
    models, ensemble = {one.model: one for one in data.plan.models}, data.plan.ensemble
    assert ensemble is not None
    parts = tuple(
        ControlPart(part.model, part.times, replace(models[part.model].candidate("default"), label=f"control-{k + 1}"))
        for k, part in enumerate(ensemble.parts)
    )
    parts = tuple(
        replace(part, retrained=replace(part.retrained, fit=Fit(1.2, 0.33, None, None, ""))) for part in parts
    )
    control = Control(parts, Fit(1.0, 0.33, 0.3, 0.4, "a rule"), gain)
    logits = dict(data.test.logits)
    for k, part in enumerate(parts):
        logits[part.entry] = logits[f"{part.model}:default" if f"{part.model}:default" in logits else part.model] + k
    logits["control"] = sum(logits[part.entry] / 1.2 for part in parts) / len(parts)
    test = replace(
        data.test,
        logits=logits,
        probabilities=data.test.probabilities
        | {name: expit(each) for name, each in logits.items() if "control" in name},
        thresholds=data.test.thresholds | {name: 0.33 for name in logits if "control" in name},
    )
    return replace(data, test=test, plan=replace(data.plan, ensemble=replace(ensemble, control=control)))


def test_the_control_says_whether_the_search_has_paid(small: ReportData, tmp_path: Path) -> None:
    text = write_report(small, tmp_path / "without").read_text(encoding="utf-8")
    assert re.search(
        r"It takes 10 networks or a few more, about 0\.2\d? hours of a worker: search\.finalize --study made-up --con",
        text,
    )
    paid = with_control(small, Gain(("x",) * 5, 0.006, 0.002, 0.01, "", 95, 950))
    text = write_report(paid, tmp_path / "paid").read_text(encoding="utf-8")
    assert "The search has paid: the ensemble is better than its control" in text
    assert "by AUC +0.006 (+0.002 to +0.010), out of fold." in text
    numbers = json.loads((tmp_path / "paid" / "report.json").read_text(encoding="utf-8"))["ensemble"]
    beside = numbers["beside_control"]
    assert beside["parts"] == {"cnn": 1, "vgg16": 1}
    assert (beside["comparison"]["second"], beside["cost"]["networks"]) == ("control", 10)
    assert beside["auc"]["value"] == pytest.approx(sk.roc_auc_score(paid.test.labels, paid.test.logits["control"]))
    for test in (numbers["comparison"]["primary"], beside["comparison"]["primary"]):
        assert test["p_adjusted"] == pytest.approx(min(1.0, 2 * test["p"])), "two tests, one family"
    unsure = find(with_control(small, Gain(("x",) * 5, 0.001, -0.002, 0.004, "", 95, 950))).ensemble
    worse = find(with_control(small, Gain(("x",) * 5, -0.005, -0.008, -0.002, "", 95, 950))).ensemble
    assert unsure is not None
    assert worse is not None
    assert unsure.control.startswith("That the search has paid cannot be shown: ")
    assert worse.control.startswith("The search has cost: ")
