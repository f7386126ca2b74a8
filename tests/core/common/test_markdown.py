"""A name is shown as it is, held against an independent reader of Markdown."""

import pytest
from markdown_it import MarkdownIt

from ead_core.common.markdown import as_text, printable, table

NAMES = [
    "qm9-deep",
    "molecules of one_run_2",
    "a|b",
    "*bold* _italic_ __init__ ~~gone~~",
    "<script>alert(1)</script>",
    "&lt;b&gt; &amp; &#35;",
    "[link](http://x) ![picture](y)",
    "`code`",
    "back\\slash \\* \\|",
    "# heading #",
    "ends in #",
    "1. list",
    "<!-- comment",
    "a_b _c_ d_",
    "éthanol_1 → 水",
    "$x^2$",
    "-----",
    "\\",
]  # fmt: skip


def texts(tokens):
    """The inline parts of a document as one text each; fails if they are more than text."""
    for token in tokens:
        if token.type == "inline":
            assert {part.type for part in token.children} <= {"text", "text_special"}, token.content
            yield "".join(part.content for part in token.children)


def read(document):
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(document)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is_in_a_heading_and_in_a_table(name):
    assert list(texts(read(f"# {as_text(name)}\n"))) == [name]
    rows = table([["a", "b"], [as_text(name), "1"], ["2", as_text(name)]])
    assert list(texts(read(rows))) == ["a", "b", name, "1", "2", name]


@pytest.mark.parametrize(
    "name", ["two\nlines", "two\r\n\r\nlines", "two\u2028lines", "two\vlines", "two \t lines", "\n two lines \n"]
)
def test_line_breaks_become_spaces(name):
    assert printable(name) == "two lines"


@pytest.mark.parametrize("name", ["a\0b", "a\x1b[31mb", "a\udce9b", "a\u202eb", "a\x7fb"])
def test_what_cannot_be_shown_is_replaced(name):
    assert "�" in printable(name)
    printable(name).encode()


def test_plain_names_stay_readable():
    assert as_text("qm9-small_cond v1.2 (x)") == "qm9-small_cond v1.2 (x)"
