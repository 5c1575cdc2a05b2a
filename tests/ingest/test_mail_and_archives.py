"""E-mail and ZIP archives: encodings, attachments, hostile names and bombs."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from ingest.readers import archive as archive_reader
from ingest.readers import read
from ingest.readers.archive import ArchiveOnDisk, Member, members
from ingest.readers.zip_package import open_zip
from knowledge.errors import ReadFailed
from knowledge.types import ParsedDocument

MAX_BYTES = 10_000_000


def texts(document: ParsedDocument) -> list[str]:
    return [document.text[block.start : block.end] for block in document.blocks]


def read_mail(folder: Path, content: bytes) -> ParsedDocument:
    path = folder / "a.eml"
    path.write_bytes(content)
    return read(path, max_bytes=MAX_BYTES)


# ---- e-mail ----


def test_mail_has_headers_text_and_names_of_attachments(tmp_path: Path) -> None:
    message = EmailMessage()
    message["From"], message["To"] = "김각주 <kim@example.org>", "team@example.org"
    message["Date"], message["Subject"] = "Fri, 01 Mar 2024 13:30:00 +0900", "회의록 공유"
    message.set_content("첫 문단입니다.\n\n둘째 문단입니다.\n")
    message.add_alternative("<p>HTML</p>", subtype="html")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="회의록.pdf")
    document = read_mail(tmp_path, message.as_bytes())
    assert document.title == "회의록 공유"
    assert texts(document) == [
        "From: 김각주 <kim@example.org>\nTo: team@example.org\nDate: 2024-03-01 13:30 +0900\nSubject: 회의록 공유",
        "첫 문단입니다.",
        "둘째 문단입니다.",
        "Attachments: 회의록.pdf",
    ]


def test_mail_of_html_alone_is_read_as_a_page(tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"] = "Page"
    message.set_content("<h1>안내</h1><p>글</p><script>x()</script>", subtype="html")
    document = read_mail(tmp_path, message.as_bytes())
    assert texts(document)[1:] == ["글"]
    assert document.blocks[1].heading == ("안내",)


@pytest.mark.parametrize("charset", ["euc-kr", "ks_c_5601-1987", "utf-8", "x-unknown"])
def test_korean_mail_is_read_in_its_encodings(tmp_path: Path, charset: str) -> None:
    raw = "utf-8" if charset == "utf-8" else "cp949"
    head = f"From: a@b\r\nSubject: 똠방각하\r\nContent-Type: text/plain; charset={charset}\r\n\r\n".encode(raw)
    document = read_mail(tmp_path, head + "똠방각하 펲시콜라".encode(raw))
    assert (document.title, texts(document)[1]) == ("똠방각하", "똠방각하 펲시콜라")


def test_encoded_subject_in_the_name_that_outlook_gives_cp949(tmp_path: Path) -> None:
    content = b"From: a@b\r\nSubject: =?ks_c_5601-1987?B?jGux5rCkx88=?=\r\n\r\ntext"
    assert read_mail(tmp_path, content).title == b"\x8ck\xb1\xe6\xb0\xa4\xc7\xcf".decode("cp949")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"just a letter", "damaged"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "damaged"),
        (b"From: a\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nMII", "encrypted"),
    ],
)
def test_what_is_no_readable_mail_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ReadFailed) as caught:
        read_mail(tmp_path, content)
    assert caught.value.reason == reason


# ---- archives ----


def zipped(folder: Path, *entries: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def inside(path: Path, *, member: int = MAX_BYTES, total: int = MAX_BYTES) -> list[Member]:
    return list(members(path, max_bytes=MAX_BYTES, max_member_bytes=member, max_total_bytes=total))


def test_members_come_in_order_without_folders_and_hidden_files(tmp_path: Path) -> None:
    path = zipped(tmp_path, ("나/", b""), ("나/b.md", b"B"), ("a.txt", b"A"), (".git/x", b""), ("__MACOSX/a.txt", b""))
    assert [(found.name, found.data, found.failure) for found in inside(path)] == [
        ("나/b.md", b"B", None),
        ("a.txt", b"A", None),
    ]


@pytest.mark.parametrize("encoding", ["cp949", "utf-8"])
def test_korean_names_without_the_unicode_flag(tmp_path: Path, encoding: str) -> None:
    raw = "휴가 규정.txt".encode(encoding)
    path = zipped(tmp_path, ("x" * len(raw), b"1"))
    path.write_bytes(path.read_bytes().replace(b"x" * len(raw), raw))
    assert [found.name for found in inside(path)] == ["휴가 규정.txt"]


@pytest.mark.parametrize(
    "name", ["../x.txt", "/etc/x", "C:\\x.txt", "C:/x", "a/../../x", "..\\x", "a\nb.txt", "inner.zip"]
)
def test_names_that_lead_elsewhere_and_inner_archives_are_refused(tmp_path: Path, name: str) -> None:
    found = inside(zipped(tmp_path, (name, b"x"), ("good.txt", b"ok")))
    assert (found[0].failure is not None and found[0].failure.reason, found[0].data) == ("unsupported", b"")
    assert (found[1].name, found[1].data) == ("good.txt", b"ok")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_links_and_locked_members_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16
    path = zipped(tmp_path, (link, b"/etc/passwd"), ("locked.txt", b"x"))
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, data.rindex(b"PK\x01\x02") + 8, 1)
    path.write_bytes(bytes(data))
    assert [found.failure.reason for found in inside(path) if found.failure] == ["unsupported", "encrypted"]


def test_members_of_one_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zipped(tmp_path, ("a.txt", b"first"), ("a.txt", b"second"), ("a.txt", b"third"), ("b.txt", b"B"))
    found = inside(path)
    assert [(member.name, member.data) for member in found] == [
        ("a.txt", b"first"),
        ("a.txt#2", b""),
        ("a.txt#3", b""),
        ("b.txt", b"B"),
    ]
    assert ["twice" in str(member.failure) for member in found] == [False, True, True, False]


def test_bombs_are_stopped_by_what_comes_out_of_them(tmp_path: Path) -> None:
    path = zipped(tmp_path, ("bomb.txt", bytes(2_000_000)), ("good.txt", b"ok"))
    found = inside(path, member=1_000_000)
    assert (found[0].failure is not None and found[0].failure.reason, found[1].data) == ("too_large", b"ok")
    many = zipped(tmp_path, *((f"{number}.txt", bytes(900_000)) for number in range(9)))
    with pytest.raises(ReadFailed) as caught:
        inside(many, member=1_000_000, total=3_000_000)
    assert caught.value.reason == "too_large"


def test_damaged_archive_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path, ("a.txt", b"text" * 1000))
    whole = path.read_bytes()
    path.write_bytes(whole[:30])
    with pytest.raises(ReadFailed) as caught:
        inside(path)
    assert caught.value.reason == "damaged"
    buffer = io.BytesIO(whole)
    buffer.seek(40)
    buffer.write(b"\xff\xff\xff")
    path.write_bytes(buffer.getvalue())
    assert [found.failure.reason for found in inside(path) if found.failure] == ["damaged"]


@pytest.fixture
def on_disk() -> Iterator[ArchiveOnDisk]:
    archive = ArchiveOnDisk()
    yield archive
    archive.close()


def of(archive: ArchiveOnDisk, path: Path, name: str, *, max_bytes: int = MAX_BYTES) -> bytes:
    return archive.member(path, name, archive_name=path.name, max_bytes=max_bytes)


def test_archive_on_disk_is_opened_once_for_all_its_members(
    tmp_path: Path, on_disk: ArchiveOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path, *((f"{number}.txt", b"%d" % number) for number in range(50)))
    opened: list[object] = []

    def counted(source: object) -> zipfile.ZipFile:
        opened.append(source)
        return open_zip(source)  # type: ignore[arg-type]

    monkeypatch.setattr(archive_reader, "open_zip", counted)
    assert [of(on_disk, path, f"{number}.txt") for number in range(50)] == [b"%d" % number for number in range(50)]
    assert len(opened) == 1


def test_archive_that_is_replaced_is_opened_again(tmp_path: Path, on_disk: ArchiveOnDisk) -> None:
    path = zipped(tmp_path, ("a.txt", b"before"))
    assert of(on_disk, path, "a.txt") == b"before"
    (tmp_path / "other").mkdir()
    zipped(tmp_path / "other", ("a.txt", b"after"), ("b.txt", b"new")).replace(path)
    assert (of(on_disk, path, "a.txt"), of(on_disk, path, "b.txt")) == (b"after", b"new")
    zipped(tmp_path, ("b.txt", b"rewritten in place"))
    assert of(on_disk, path, "b.txt") == b"rewritten in place"
    with pytest.raises(ReadFailed, match="no longer in") as caught:
        of(on_disk, path, "a.txt")
    assert caught.value.reason == "unreadable"


def test_limits_and_kinds_of_file_hold_for_archives_on_disk(tmp_path: Path, on_disk: ArchiveOnDisk) -> None:
    path = zipped(tmp_path, ("a.txt", b"x" * 1000))
    assert of(on_disk, path, "a.txt", max_bytes=1000) == b"x" * 1000
    with pytest.raises(ReadFailed) as caught:
        of(on_disk, path, "a.txt", max_bytes=999)
    assert caught.value.reason == "too_large"
    link = tmp_path / "link.zip"
    link.symlink_to(path)
    with pytest.raises(ReadFailed) as caught:
        of(on_disk, link, "a.txt")
    assert caught.value.reason == "unreadable"
    path.write_bytes(b"PK no archive")
    with pytest.raises(ReadFailed) as caught:
        of(on_disk, path, "a.txt")
    assert caught.value.reason == "damaged"
    good = zipped(tmp_path, ("a.txt", b"whole again"))
    assert of(on_disk, good, "a.txt") == b"whole again"
