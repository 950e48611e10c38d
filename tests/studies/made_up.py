"""A made-up comparison with everything that a report can show: two models, 40 test patients, pruned and failed trials.

Run as ``PYTHONPATH=.:tests python tests/studies/made_up.py FOLDER [--hostile] [3 1]`` to look at its report. Numbers
are the patches with IDC of the only test patients who have any.
"""

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from made_up_looks import disturbed, measured, picture
from scipy.special import expit
from spaces import SPACES

from studies.final_models import (
    CandidateResult,
    Dropped,
    Ensemble,
    FinalModel,
    Fit,
    Gain,
    MemberResult,
    Neighbours,
    Part,
)
from studies.records import (
    AnalysisPlan,
    DataSummary,
    Example,
    Opening,
    ParamValue,
    PartSummary,
    Predictions,
    ReportData,
    StudySummary,
    TrialResult,
    digest,
)
from studies.speeds import Layers, NetworkSpeed, Speeds
from studies.statistics.metrics import PLANNED, PRIMARY, auc, balanced_accuracy

BEGUN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script> \"quoted\" & Ünïcödé"


def report_data(
    folder: Path,
    *,
    seed: int = 0,
    skill: tuple[float, float] = (2.6, 3.0),
    patient_ids: bool = True,
    twins: bool = False,
    hostile: bool = False,
    trials: int = 20,
    patients: int = 40,
    few: tuple[int, ...] = (),
    draws: int = 1000,
) -> ReportData:
    """A report's data, with its pictures written to ``folder``.

    Args:
        folder: takes the pictures.
        seed: of everything.
        skill: how well cnn and vgg16 tell the classes apart; 0 is random.
        patient_ids: whether patients are known.
        twins: whether vgg16 gives the very scores of cnn.
        hostile: whether names carry HTML, quotes and unicode.
        trials: in each study.
        patients: in the test split.
        few: patches with IDC of the only test patients who have any; () for nearly all of them.
        draws: bootstrap draws.
    """
    rng = np.random.default_rng(seed)
    name = HOSTILE if hostile else "made-up"
    test = _predictions(rng, patients, 20, skill, patient_ids=patient_ids, twins=twins, hostile=hostile, few=few)
    rows, _ = (  # the second is drawn so that all that follows stays as it was
        _predictions(rng, patients, 25, skill, patient_ids=patient_ids, twins=twins, hostile=hostile) for _ in range(2)
    )
    development = {"cnn": rows, "vgg16": rows}
    studies = tuple(_study(rng, name, model, trials, hostile=hostile) for model in ("cnn", "vgg16"))
    models = tuple(
        _final(rng, study, development[study.model], chosen="default" if study.model == "vgg16" else "best")
        for study in studies
    )
    data = _data(rng, test, patient_ids=patient_ids, hostile=hostile)
    plan = _plan(name, data, models, draws)
    return ReportData(
        name=name,
        data=data,
        studies=studies,
        plan=plan,
        plan_digest=digest(plan),
        frozen_at=BEGUN + timedelta(hours=5),
        frozen_first=True,
        openings=(_opening(name, digest(plan), len(test.labels)),),
        chain_head="c" * 64,
        test=test,
        out_of_fold=development,
        examples=tuple(_examples(rng, folder, test, development["cnn"])),
        disturbed={model: disturbed(rows, model) for model, rows in development.items()},
        measured=(measured(development["cnn"]), measured(test)),
        environment={
            "histotune": "0.1.0",
            "commit": "0123456789abcdef",
            "python": "3.11.7",
            "torch": "2.14.1",
            "device": "2 x AMD EPYC (AVX-512), no GPU",
            "command": f"python -m search.finalize --study '{name}'",
        },
        speeds=_speeds(models),
    )


def _patients(rng: np.random.Generator, patients: int, patches: int, *, hostile: bool) -> np.ndarray:
    sizes = rng.integers(max(3, patches // 2), patches * 3 // 2, patients)
    names = [f"{8000 + 37 * k}" for k in range(patients)]
    if hostile:
        names[0], names[1] = HOSTILE, "=1+1"
    return np.repeat(np.array(names), sizes)


def _predictions(
    rng: np.random.Generator,
    patients: int,
    patches: int,
    skill: tuple[float, float],
    *,
    patient_ids: bool,
    twins: bool,
    hostile: bool,
    few: tuple[int, ...] = (),
) -> Predictions:
    who = _patients(rng, patients, patches, hostile=hostile)
    unique, place = np.unique(who, return_inverse=True)
    labels = (rng.random(len(who)) < rng.beta(1.2, 2.4, len(unique))[place]).astype(np.int64)
    if few:
        labels = _few(place, few)
    stain = rng.normal(0, 0.4, len(unique))[place]
    shared = rng.normal(0, 0.9, len(who))
    members = {
        model: strength * (labels - 0.55)[:, None]
        + (stain + shared + rng.normal(0, 0.7, len(who)))[:, None]
        + rng.normal(0, 0.3, (len(who), 5))
        for model, strength in zip(("cnn", "vgg16"), skill, strict=True)
    }
    if twins:
        members["vgg16"] = members["cnn"].copy()
    logits = {model: each.mean(axis=1) * 1.3 for model, each in members.items()}
    logits["cnn:default"] = logits["cnn"] + rng.normal(0, 0.8, len(who))
    logits["vgg16:best"] = logits["vgg16"] + rng.normal(0, 0.3, len(who))
    logits["ensemble"] = (logits["cnn"] + logits["vgg16"]) / 2
    logits["neighbours"] = 0.9 * logits["ensemble"] + 0.4 * labels
    logits["colour histogram"] = 2.1 * (labels - 0.5) + 1.6 * stain + rng.normal(0, 1.4, len(who))
    logits["majority"] = np.full(len(who), -0.9)
    fitted = {entry: 1.2 for entry in logits if entry.split(":")[0] in members}
    probabilities = {entry: expit(each / fitted.get(entry, 1.0)) for entry, each in logits.items()}
    return Predictions(
        names=np.array([f"{patient}_idx5_x{50 * k}_y{50 * (k % 31)}" for k, patient in enumerate(who)]),
        patients=who if patient_ids else np.full(len(who), ""),
        x=50 * np.arange(len(who)),
        y=50 * (np.arange(len(who)) % 31),
        labels=labels,
        logits=logits,
        probabilities=probabilities,
        members=members,
        thresholds={entry: 0.5 if entry == "majority" else 0.33 for entry in logits},
        brightness=rng.normal(185, 22, len(who)),
        haematoxylin=rng.normal(0.28, 0.06, len(who)) + 0.05 * labels,
        eosin=rng.normal(0.2, 0.05, len(who)),
        near_white=rng.random(len(who)) < 0.06,
    )


def _few(place: np.ndarray, few: tuple[int, ...]) -> np.ndarray:
    """(N,) labels where only the first patients have IDC, in so many patches each."""
    labels = np.zeros(len(place), dtype=np.int64)
    for patient, patches in enumerate(few):
        labels[np.flatnonzero(place == patient)[:patches]] = 1
    return labels


def _data(rng: np.random.Generator, test: Predictions, *, patient_ids: bool, hostile: bool) -> DataSummary:
    names = [HOSTILE if hostile and k == 0 else str(9100 + 13 * k) for k in range(95)]
    sizes = rng.integers(4, 60, 95)
    idc = rng.binomial(sizes, rng.beta(1.2, 2.4, 95))
    parts = np.where(np.arange(95) % 6 == 0, "validation", "train")
    rows = tuple(zip(names, parts.tolist(), sizes.tolist(), idc.tolist(), strict=True))
    summaries = [
        PartSummary(part, int((parts == part).sum()), int(sizes[parts == part].sum()), int(idc[parts == part].sum()))
        for part in ("train", "validation")
    ]
    seen = len(np.unique(test.patients)) if patient_ids else 0
    summaries.append(PartSummary("test", seen, len(test.labels), int(test.labels.sum())))
    if not patient_ids:
        rows = ()
        summaries = [replace(part, patients=0) for part in summaries]
    exclusions = (("not 50 x 50 pixels", 31), ("exact duplicate", 4), ("doubled copy of the archive", 0))
    kept = sum(part.patches for part in summaries)
    return DataSummary(
        source=f"/data/{HOSTILE}" if hostile else "synthetic:3000",
        synthetic=not hostile,
        fingerprint="5f" * 32,
        found=kept + 35,
        exclusions=exclusions,
        parts=tuple(summaries),
        patient_ids=patient_ids,
        patients=rows,
        lock_digest="a7" * 32,
        fractions=(70, 15, 15),
        split_seed=0,
    )


def _draw(rng: np.random.Generator, space: dict[str, dict[str, Any]]) -> dict[str, ParamValue]:
    drawn: dict[str, ParamValue] = {}
    for name, one in space.items():
        if one["kind"] == "choices":
            drawn[name] = one["choices"][rng.integers(len(one["choices"]))]
        elif one["kind"] == "integer":
            drawn[name] = int(rng.integers(one["low"], one["high"] + 1))
        elif one["log"]:
            drawn[name] = float(np.exp(rng.uniform(np.log(one["low"]), np.log(one["high"]))))
        else:
            drawn[name] = float(rng.uniform(one["low"], one["high"]))
    return drawn


def _study(rng: np.random.Generator, name: str, model: str, count: int, *, hostile: bool) -> StudySummary:
    trials = tuple(_trial(rng, model, number, hostile=hostile) for number in range(count))
    complete = [trial for trial in trials if trial.state == "COMPLETE"]
    best = max(complete, key=lambda trial: trial.value or 0).number if complete else None
    weights = rng.dirichlet(np.full(len(SPACES[model]), 0.6))
    return StudySummary(
        name=f"{name}-{model}",
        model=model,
        definition={"objective": "auc", "epochs": 12, "precision": "fp32", "split": "a7" * 32, "model": model},
        space=SPACES[model],
        trials=trials,
        best=best,
        default=0 if trials else None,
        importance=dict(zip(SPACES[model], weights.tolist(), strict=True)) if len(complete) > 5 else None,
        settings={
            "sampler": "tpe",
            "pruner": "sha",
            "seed": 1,
            "split": [70, 15, 15],
            "command": f"python -m search.launch --model all --trials {count} --data synthetic:600",
        },
    )


def _trial(rng: np.random.Generator, model: str, number: int, *, hostile: bool) -> TrialResult:
    state = "FAIL" if number == 7 else "PRUNED" if number % 3 == 2 else "COMPLETE"
    epochs = {"FAIL": 1, "PRUNED": int(rng.integers(1, 5)), "COMPLETE": 12}[state]
    top = rng.uniform(0.86, 0.95) - (0.05 if state == "PRUNED" else 0)
    curve = tuple((e, float(top - 0.25 * np.exp(-e / 2.5) + rng.normal(0, 0.004))) for e in range(1, epochs + 1))
    value = max(height for _, height in curve)
    seconds = float(rng.uniform(8, 14) * epochs * (3 if model == "vgg16" else 1))
    begun = BEGUN + timedelta(seconds=95 * number + (3000 if model == "vgg16" else 0))
    failure = f"the loss became NaN {HOSTILE}" if hostile else "the loss became NaN in epoch 2"
    attributes: dict[str, Any] = {
        "best_epoch": max(curve, key=lambda point: point[1])[0],
        "seconds": seconds,
        "epochs": epochs,
        "device": "cpu",
        "parameters": int(rng.integers(2e5, 2e6)),
        "peak_memory": int(rng.integers(4e8, 1.2e9)),
        "seed": int(rng.integers(1 << 30)),
        "worker": f"worker-{number % 2}",
        "cost": {"saved": 0.4 * seconds if model == "vgg16" else 0.0, "waiting": 0.05 * seconds},
    }
    if state == "FAIL":
        attributes["failure"] = failure
    return TrialResult(
        number, state, value, _draw(rng, SPACES[model]), curve, begun, begun + timedelta(seconds=seconds), attributes
    )


def _final(rng: np.random.Generator, study: StudySummary, rows: Predictions, chosen: str) -> FinalModel:
    other = "default" if chosen == "best" else "best"
    entries = {chosen: study.model, other: f"{study.model}:{other}"}
    best, default = (_candidate(rng, study, label, rows, entries[label]) for label in ("best", "default"))
    third = replace(
        best, label="finalist-2", trial=3, members=best.members[:2], dropped=Dropped(2, "best", 0.031, 0.009)
    )
    return FinalModel(
        model=study.model,
        candidates=(best, default, third),
        chosen=chosen,
        temperature=1.2,
        threshold=0.33,
        threshold_rule="development prevalence: the best threshold out of fold (0.351) gains 0.0012",
        gain=Gain(
            (chosen,) * 5, *((0.007, 0.003, 0.011, "") if chosen == "best" else (0.0, None, None, "the same")), 95, 950
        ),
        weights="random" if study.model == "cnn" else f"ImageNet (Keras/Oxford), sha256 {'e5' * 32}",
    )


def _candidate(
    rng: np.random.Generator, study: StudySummary, label: str, rows: Predictions, entry: str
) -> CandidateResult:
    number = (study.best if label == "best" else study.default) or 0
    trial = study.trials[number]
    members = tuple(
        MemberResult(
            fold,
            int(rng.integers(1 << 30)),
            9,
            float(rng.uniform(60, 90)),
            float(rng.uniform(0.9, 0.94)),
            f"{fold}b" * 32,
        )
        for fold in range(5)
    )
    scores = rows.probabilities[entry]
    return CandidateResult(
        label=label,
        trial=number,
        params=trial.params,
        search_value=trial.value or 0.5,
        epochs=9,
        members=members,
        out_of_fold_auc=auc(rows.labels, scores),
        out_of_fold_balanced_accuracy=balanced_accuracy(rows.labels, scores, 0.33),
    )


def _plan(name: str, data: DataSummary, models: tuple[FinalModel, ...], draws: int) -> AnalysisPlan:
    parts = tuple(Part(model.model, model.chosen, 1, 1.0) for model in models)
    gain = Gain(("1 x cnn best, 1 x vgg16 default",) * 5, 0.004, -0.001, 0.009, "", 95, 950)
    return AnalysisPlan(
        study=name,
        fingerprint=data.fingerprint,
        lock_digest=data.lock_digest,
        models=models,
        baselines=("colour histogram", "majority"),
        primary=PRIMARY,
        statistics=PLANNED,
        draws=draws,
        statistics_seed=0,
        settings={"folds": 5, "views": 8, "precision": "fp32", "race": "the weak ones are dropped"},
        ensemble=Ensemble(parts, "the plain mean", Fit(1.0, 0.33, 0.3, 0.4, "a rule"), models[-1].model, gain),
        neighbours=Neighbours("ensemble", 1.0, 0.6, 0.5, -0.02, 0.1, 6.4, Fit(1.0, 0.33, 0.3, 0.4, "a rule"), gain),
    )


def _speeds(models: tuple[FinalModel, ...]) -> Speeds:
    """As if the members of vgg16 shared their frozen layers."""
    small, front = Layers(300_000, 40_000_000, 0.6), Layers(14_700_000, 750_000_000, 4.0)
    nothing = Layers(0, 0, 0.0)
    networks = (
        NetworkSpeed(model.model, one.label, "", small, *((front, "5") if model.model == "vgg16" else (nothing, "")))
        for model in models
        for one in model.candidates
    )
    return Speeds("2 CPU threads", 64, "fp32", tuple(networks))


def _opening(name: str, plan: str, patches: int) -> Opening:
    at = BEGUN + timedelta(hours=5, minutes=1)
    return Opening(name, plan, at, at + timedelta(seconds=40), "", "host, process 4711", patches)


def _examples(rng: np.random.Generator, folder: Path, test: Predictions, rows: Predictions) -> list[Example]:
    folder.mkdir(parents=True, exist_ok=True)
    shown = [("development", "", rows, 6, False), ("suspicious", "cnn", rows, 4, False)]
    shown += [
        (kind, model, test, 4, True) for kind in ("false positive", "false negative") for model in ("cnn", "vgg16")
    ]
    shown += [("disagreement", "", test, 4, False)]
    made = []
    for kind, entry, source, count, heat in shown:
        for place in rng.integers(0, len(source.labels), count):
            stem = folder / f"{len(made):03d}"
            label = int(source.labels[place])
            made.append(
                Example(
                    kind=kind,
                    entry=entry,
                    name=str(source.names[place]),
                    patient=str(source.patients[place]),
                    label=label if kind != "development" else len(made) % 2,
                    probability=None if kind == "development" else float(source.probabilities[entry or "cnn"][place]),
                    picture=picture(rng, stem.with_suffix(".png")),
                    heatmap=picture(rng, stem.with_name(f"{stem.name}-heat.png")) if heat else None,
                )
            )
    return made


if __name__ == "__main__":
    from studies.report.page import write_report

    target = Path(sys.argv[1])
    only = tuple(int(count) for count in sys.argv[2:] if count.isdigit())
    write_report(report_data(target / "pictures", hostile="--hostile" in sys.argv, few=only), target)
