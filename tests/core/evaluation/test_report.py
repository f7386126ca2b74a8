"""The files of a card hold names as they are, whatever signs they hold."""

import html

from ead_core.common.markdown import as_text
from ead_core.evaluation.evaluate import evaluate_files
from ead_core.evaluation.run import EvaluationPlan

WATER = "3\nwater\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"


def test_a_name_full_of_signs_breaks_neither_document_nor_page(tmp_path):
    file = tmp_path / "a|b <b>x *c* CARD-TABLES & `d`\ne.xyz"
    file.write_text(WATER)
    evaluate_files([file], tmp_path / "card", EvaluationPlan(("published",), workers=1))
    shown = "a|b <b>x *c* CARD-TABLES & `d` e"
    document = (tmp_path / "card" / "card.md").read_text()
    assert document.startswith(f"# {as_text(shown)}\n\n1 molecules;")
    assert document.rstrip().endswith(f"{as_text(shown)}.xyz.")
    page = (tmp_path / "card" / "card.html").read_text()
    assert f"<h1>{html.escape(shown)}</h1>" in page
    assert page.count('<div id="tables"><section>') == 1
