"""The checklist: three standards, each topic once, each answer in a section that the report has."""

import re
from pathlib import Path

from studies.findings.checklist import checklist

TEMPLATES = Path(__file__).resolve().parents[3] / "studies" / "report" / "templates"


def test_each_topic_is_asked_by_known_standards_and_answered_in_a_section_that_is_there() -> None:
    items = checklist(patient_ids=True)
    assert len({item.topic for item in items}) == len(items)
    asked = [name for item in items for name in item.asked_by.split(", ")]
    assert set(asked) == {"CLAIM", "TRIPOD+AI", "STARD-AI"}
    sections = set(re.findall(r'<(?:section|header) id="([^"]+)"', "".join(p.read_text() for p in TEMPLATES.glob("*"))))
    assert {item.section for item in items if item.section} <= sections
    assert all(item.remark for item in items if item.section is None)


def test_without_patient_ids_it_is_not_claimed_that_parts_are_disjoint() -> None:
    (partitions,) = [item for item in checklist(patient_ids=False) if item.topic.startswith("Partitions")]
    assert partitions.section is None
