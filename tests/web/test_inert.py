"""Untrusted Markdown: images, raw HTML and links in the clothes of a footnote."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
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


# Images, and links in the clothes of a footnote, where readers of Markdown and a simple filter see different things.
TRICKS = [
    "good![1][ref]\n\n[ref]: https://evil.test/x.png",
    "good![1]\n\n- [1]: https://evil.test/x.png",
    "see [1][ref]\n\n[ref]: https://evil.test/",
    "fact [1]\n\n- [1]: https://evil.test/",
    "fact [1]\n\n> 1. [1]:\n>    https://evil.test/",
    "fact [1]\n\n[a`b]: https://evil.test/`c\n\n[1][a`b]",
    "[[1]](https://evil.test)",
    "[[[1]]](https://evil.test)",
    "[\\[1\\]](https://evil.test)",
    "[&#91;1&#93;](https://evil.test)",
    "[**1**](https://evil.test)",
    "[`1`](https://evil.test)",
    "[see [1]](https://evil.test)",
    "\\`![x](https://evil.test/q.png)\\`",
    "\\`a` b `![x](https://evil.test/q.png)` c",
    "`a\nb `![x](https://evil.test/q.png)` c",
    "> ```\n![x](https://evil.test/w.png)",
    "- ```\n\n![x](https://evil.test/w.png)",
    "- ```\n  code\n  ```\n  ![x](https://evil.test/w.png)\n  ```",
    "```\n  ```\n![x](https://evil.test/w.png)\n```",
    "| a |\n|-|\n| `b | ![x](https://evil.test/t.png) ` |",
    "<https://a.test/`> ![x](https://evil.test/q.png) `",
    "text\r```\r![x](https://evil.test/q.png)",
]
GFM = MarkdownIt("gfm-like", {"linkify": False})


@pytest.mark.parametrize("written", TRICKS)
def test_no_trick_makes_an_image_or_a_false_footnote(written: str):
    page = GFM.render(displayable(written))
    assert "<img" not in page
    for link in re.findall(r"<a [^>]*>(.*?)</a>", page, re.DOTALL):
        assert not re.search(r"\[\d+\]", link) and not re.sub(r"<[^>]*>", "", link).isdigit(), page
    assert "<img" not in GFM.render(without_images(written))


@pytest.mark.parametrize(
    "written",
    [
        "Use `<b>` or ``a`b<i>`` [1], and `![x](y)`.",
        "1. Do\n   ```html\n   <b>\n\n   </b>\n   ```\n2. Then",
        "```ts\nlet a: { [key: string]: Array<T> }\n```\nafter",
        "```\nstill being <written>",
        "````\n```\n<b>\n```\n````\n",
        "[the docs](https://example.org/1) say so [1][2].",
    ],
)
def test_usual_code_and_links_are_left_as_they_are(written: str):
    assert displayable(written) == written == without_images(written)


def test_a_definition_and_an_exclamation_look_as_they_were_written():
    assert GFM.render(displayable("근거 [1]: 훌륭합니다![2]")) == "<p>근거 [1]: 훌륭합니다![2]</p>\n"


HARD = st.text(alphabet="ab <>!/[]()1:`~\n\\\"'=", max_size=60)


@given(HARD)
def test_displayable_twice_is_displayable_once(text: str):
    once = displayable(text)
    assert displayable(once) == once


BLOCKS = st.sampled_from(
    [
        "`",
        "``",
        "```",
        "~~~",
        "\n",
        "\n\n",
        "\n  ",
        "\n    ",
        "> ",
        "- ",
        "1. ",
        "\\",
        "a",
        " ",
        "[",
        "]",
        "|",
        "![x](y)",
        "<b>",
    ]
)


@settings(max_examples=500)
@given(st.lists(BLOCKS | st.text(alphabet="ab <>!/[]()1:\n=", max_size=6), max_size=24).map("".join))
def test_no_image_and_no_html_is_left_for_a_markdown_reader(text: str):
    shown = displayable(text)
    assert displayable(shown) == shown
    for reader in (COMMONMARK, GFM):
        tokens = reader.parse(shown)
        kinds = {child.type for token in tokens for child in (token, *(token.children or ()))}
        assert not kinds & {"image", "html_block", "html_inline"}
