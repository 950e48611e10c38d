"""Results -> Plotly figures, each with its title, its words for those who cannot see it, and its table."""

from studies.figures.closer import closer_figures
from studies.figures.data import data_figures
from studies.figures.deployed import deployed_figures
from studies.figures.retraining import retraining_figures
from studies.figures.search import search_figures
from studies.figures.style import Figure
from studies.figures.test_split import test_split_figures
from studies.findings.findings import Findings
from studies.records import ReportData


def draw(data: ReportData, findings: Findings) -> dict[str, list[Figure]]:
    """Section -> its figures; a study's figures stand under ``search:<study>``."""
    return {
        "data": data_figures(data),
        **{f"search:{study.name}": search_figures(study) for study in data.studies},
        "retraining": [*retraining_figures(data, findings), *deployed_figures(data, findings)],
        "test": test_split_figures(data, findings),
        "closer": closer_figures(findings),
    }
