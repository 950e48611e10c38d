"""Figures of the data: how the classes and the patients fall on the parts of the split."""

from studies.figures.style import COLOURS, NEUTRAL, SYMBOLS, Figure, Table, canvas, plain
from studies.records import ReportData


def data_figures(data: ReportData) -> list[Figure]:
    """Class balance by part, and the development patients where they are known."""
    figures = [_class_balance(data)]
    if data.data.patients:
        figures.append(_patients(data))
    return figures


def _class_balance(data: ReportData) -> Figure:
    parts = data.data.parts
    figure = canvas(60 + 46 * len(parts), x="Patches")
    rest = [part.patches - part.idc for part in parts]
    for name, counts, colour in (("IDC", [part.idc for part in parts], COLOURS[1]), ("Not IDC", rest, COLOURS[0])):
        figure.add_bar(
            y=[part.part for part in parts], x=counts, name=name, orientation="h", marker={"color": colour}, width=0.6
        )
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    rows = tuple(
        (part.part, part.patients or None, part.patches, part.idc, part.idc / max(1, part.patches)) for part in parts
    )
    return Figure(
        key="class-balance",
        title="Patches by class in each part of the split",
        alt="Stacked bars of patches with and without IDC in training, validation and test split.",
        note="",
        plots=(figure,),
        table=Table(("Part", "Patients", "Patches", "IDC", "Share of IDC"), rows),
    )


def _patients(data: ReportData) -> Figure:
    figure = canvas(340, x="Patches of the patient", y="Share of IDC")
    for place, part in enumerate(("train", "validation")):
        own = [row for row in data.data.patients if row[1] == part]
        figure.add_scatter(
            x=[row[2] for row in own],
            y=[row[3] / max(1, row[2]) for row in own],
            text=[plain(row[0]) for row in own],
            mode="markers",
            name=part,
            marker={"color": (NEUTRAL, COLOURS[1])[place], "symbol": SYMBOLS[place], "size": 7, "opacity": 0.8},
        )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    figure.update_xaxes(rangemode="tozero")
    rows = tuple((*row, row[3] / max(1, row[2])) for row in data.data.patients)
    return Figure(
        key="development-patients",
        title="Development patients: patches and share of IDC",
        alt="A point for each development patient: number of patches against the share of them with IDC.",
        note="Test patients are not shown here; their results stand under Test.",
        plots=(figure,),
        table=Table(("Patient", "Part", "Patches", "IDC", "Share of IDC"), rows),
    )
