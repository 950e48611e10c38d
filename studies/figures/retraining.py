"""Figures of the retraining: how much folds and seeds matter, and how much the search flattered itself."""

from studies.figures.style import (
    COLOURS,
    DASHES,
    SYMBOLS,
    Cell,
    Figure,
    Table,
    canvas,
    estimate_cells,
    plain,
    rows_axis,
)
from studies.final_models import FinalModel
from studies.findings.findings import Findings
from studies.records import ReportData


def retraining_figures(data: ReportData, findings: Findings) -> list[Figure]:
    """Members by fold, and the same configuration seen in search, out of fold and on the test split."""
    return [_members(data.plan.models), _overtuning(data, findings)]


def _members(models: tuple[FinalModel, ...]) -> Figure:
    labels = [f"{model.model}, {candidate.label}" for model in models for candidate in model.candidates]
    figure = canvas(80 + 40 * len(labels), x="AUC on the held-out patients of each fold")
    rows: list[tuple[Cell, ...]] = []
    for place, model in enumerate(models):
        x: list[float] = []
        y: list[float] = []
        for candidate in model.candidates:
            height = labels.index(f"{model.model}, {candidate.label}")
            for member in candidate.members:
                rows.append((model.model, candidate.label, member.fold, member.seed, member.out_of_fold_auc))
                if member.out_of_fold_auc is not None:
                    x.append(member.out_of_fold_auc)
                    y.append(height)
        marker = {"color": COLOURS[place % 4], "symbol": SYMBOLS[place % 4], "size": 9, "opacity": 0.75}
        figure.add_scatter(x=x, y=y, mode="markers", name=plain(model.model), marker=marker)
    rows_axis(figure, labels)
    folds = max(len(candidate.members) for model in models for candidate in model.candidates)
    return Figure(
        key="members",
        title="Spread over folds and seeds",
        alt=f"For each retrained configuration, the AUC of its members on their held-out patients, of {folds} folds.",
        note=f"Each point is one network, trained on {folds - 1} of the {folds} parts of the development patients "
        "with a seed of its own.",
        plots=(figure,),
        table=Table(("Model", "Configuration", "Fold", "Seed", "Out-of-fold AUC"), tuple(rows)),
    )


def _overtuning(data: ReportData, findings: Findings) -> Figure:
    figure = canvas(360, y="AUC")
    by_auc = {study.model for study in data.studies if study.definition.get("objective", "auc") == "auc"}
    rows: list[tuple[Cell, ...]] = []
    for place, (name, model) in enumerate(findings.models.items()):
        for row in model.overtuning:
            test = row.test_auc
            searched = row.search_value if name in by_auc else None  # another objective stands on another scale
            heights = [searched, row.out_of_fold_auc, None if test is None else test.value]
            rows.append(
                (name, row.configuration, row.chosen, *heights[:2], row.training_patients_auc, *estimate_cells(test))
            )
            figure.add_scatter(
                x=["search", "out of fold", "test"],
                y=heights,
                mode="lines+markers",
                name=plain(f"{name}, {row.configuration}"),
                line={"color": COLOURS[place % 4], "width": 2.6 if row.chosen else 1.4, "dash": DASHES[not row.chosen]},
                marker={"symbol": SYMBOLS[place % 4], "size": 8},
            )
    figure.update_xaxes(type="category", range=[-0.25, 2.25], showgrid=False)
    return Figure(
        key="overtuning",
        title="The same configuration in search, out of fold and on the test split",
        alt="Lines from the search's validation score through the out-of-fold score to the test score.",
        note=(
            "A fall from left to right of the tuned configuration beyond that of the default one is overtuning. The "
            "three scores come from different patches, so part of any step is chance."
        ),
        plots=(figure,),
        table=Table(
            (
                *("Model", "Configuration", "Chosen", "Search", "Out of fold", "Out of fold, training patients"),
                *("Test", "Test, low", "Test, high"),
            ),
            tuple(rows),
        ),
    )
