"""Untrusted Markdown: images, raw HTML and links in the clothes of a footnote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from web.inert import displayable, without_images

COMMONMARK = MarkdownIt("commonmark")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a ![pixel](http://stranger.test/p.png?q=1) b", "a [pixel](http://stranger.test/p.png?q=1) b"),
        ("![a [b] c](http://x)", "[a [b] c](http://x)"),
        ("![ref][1]", "[ref][1]"),
        ("훌륭합니다![1]", "훌륭합니다![1]"),
        ("훌륭합니다![1][2].", "훌륭합니다![1][2]."),
        ("![1](http://stranger.test)", "[1](http://stranger.test)"),
        ("`![kept](in code)`", "`![kept](in code)`"),
        ("```\n![kept](in code)\n```\n![x](y)", "```\n![kept](in code)\n```\n[x](y)"),
    ],
)
def test_images_become_links_outside_code(written: str, shown: str):
    assert without_images(written) == shown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("<b>x</b>", "&lt;b>x&lt;/b>"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>"),
        ("<!-- c --> <?php", "&lt;!-- c --> &lt;?php"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<https://example.org/a>", "<https://example.org/a>"),
        ("`<b>` and <b>", "`<b>` and &lt;b>"),
        ("~~~html\n<b>\n~~~\n<b>", "~~~html\n<b>\n~~~\n&lt;b>"),
        ("see [1](http://stranger.test)", "see [1]&#40;http://stranger.test)"),
        ("[1]: http://stranger.test", "[1]&#58; http://stranger.test"),
        ("[the docs](http://example.org)", "[the docs](http://example.org)"),
    ],
)
def test_html_is_text_and_footnotes_stay_footnotes(written: str, shown: str):
    assert displayable(written) == shown


HARD = st.text(alphabet="ab <>!/[]()1:`~\n\\\"'=", max_size=60)


@given(HARD)
def test_displayable_twice_is_displayable_once(text: str):
    once = displayable(text)
    assert displayable(once) == once


@given(st.text(alphabet="ab <>!/[]()1:\n=", max_size=60))
def test_no_image_and_no_html_is_left_for_a_markdown_reader(text: str):
    tokens = COMMONMARK.parse(displayable(text))
    kinds = {child.type for token in tokens for child in (token, *(token.children or ()))}
    assert not kinds & {"image", "html_block", "html_inline"}
