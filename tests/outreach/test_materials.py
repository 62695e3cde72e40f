"""Materials: what a file truly is, what is refused, what is stripped, what a mail gets."""

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Semaphore
from time import sleep
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo
from pydantic import ValidationError
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, StreamObject, TextStringObject
from sqlalchemy.orm import Session

from crm import files
from crm.config import Settings
from crm.errors import SENTENCES, InvalidInput, NotFound, TooLarge
from crm.outreach import materials, pictures
from crm.outreach.models import Material, MaterialKind
from crm.outreach.pictures import MAIL_BYTES, MAIL_WIDTH, PIXEL_LIMIT
from crm.outreach.schemas import MaterialIn, MaterialPatch

SETTINGS = Settings(base_url="https://red.example.org")
MARKER = "Ubicacion secreta 194326"
TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def drawn(width: int = 640, height: int = 400, mode: str = "RGB") -> Image.Image:
    """An infographic of few colours, red at its left edge."""
    image = Image.new(mode, (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 8, height), fill="red")
    draw.text((width // 4, height // 3), "Tu voto cuenta", fill="black")
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    target = BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def opened(body: bytes) -> Image.Image:
    image = Image.open(BytesIO(body))
    image.load()
    return image


def document(change: Any = None, **metadata: str) -> bytes:
    """A PDF of one blank page; ``change`` gets the writer before it is written."""
    writer = PdfWriter()
    writer.add_blank_page(200, 300)
    if metadata:
        writer.add_metadata({f"/{name}": value for name, value in metadata.items()})
    if change is not None:
        change(writer)
    target = BytesIO()
    writer.write(target)
    return target.getvalue()


def told(kind: MaterialKind = MaterialKind.INFOGRAPHIC, **fields: Any) -> MaterialIn:
    return MaterialIn(kind=kind, title="Credencial desde el extranjero", **fields)


def refusal(body: bytes, name: str | None, kind: MaterialKind = MaterialKind.INFOGRAPHIC) -> str:
    with pytest.raises((InvalidInput, TooLarge)) as caught:
        materials.check(body, name, kind)
    assert caught.value.sentence
    return caught.value.code


# --- adding --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_creates_a_material_from_a_picture(session: Session, kind: str) -> None:
    body = encoded(drawn(2000, 1000), kind)
    material = materials.create(
        session, told(alt_text="Una\n boleta", full_text="Texto"), body=body, file_name="Folleto v2.1 final"
    )
    whole = materials.file_of(session, material)
    assert whole.media_type == TYPES[kind]
    assert opened(whole.body).size == (2000, 1000)
    picture, media_type = materials.image_for_mail(session, material)
    assert media_type in ("image/png", "image/jpeg")
    assert opened(picture).size == (material.width, material.height) == (1200, 600)
    assert max(opened(materials.file_of(session, material, materials.Version.THUMBNAIL).body).size) == 320
    out = materials.to_out(session, material, SETTINGS)
    assert out.file is not None
    assert (out.file.size, out.missing, out.alt_text) == (whole.size, [], "Una boleta")
    assert out.file.name.startswith("Folleto v2.1 final.")


def test_says_which_texts_are_missing(session: Session) -> None:
    material = materials.create(session, told(full_text="  "), body=encoded(drawn()), file_name="a.png")
    assert materials.missing_texts(material) == ["alt_text_missing", "full_text_missing"]
    materials.change(session, material.id, MaterialPatch(alt_text="Una boleta", full_text="Tu voto cuenta"))
    assert materials.missing_texts(material) == []
    assert {"alt_text_missing", "full_text_missing"} <= SENTENCES.keys()


def test_needs_a_file_unless_it_is_a_video(session: Session) -> None:
    with pytest.raises(InvalidInput, match="file_required"):
        materials.create(session, told(), body=None, file_name=None)
    with pytest.raises(InvalidInput, match="link_required"):
        materials.create(session, told(MaterialKind.VIDEO), body=None, file_name=None)


def test_creates_a_video_with_and_without_thumbnail(session: Session) -> None:
    video = told(MaterialKind.VIDEO, link=" https://Video.example.org/v?id=1 ")
    bare = materials.create(session, video, body=None, file_name=None)
    out = materials.to_out(session, bare, SETTINGS)
    assert (out.file, out.width, out.link, out.link_host) == (None, None, "https://Video.example.org/v?id=1", "video.example.org")
    with pytest.raises(InvalidInput, match="material_has_no_picture"):
        materials.image_for_mail(session, bare)
    pictured = materials.create(session, video, body=encoded(drawn(), "JPEG"), file_name="cuadro.jpeg")
    assert pictured.mail_sha256
    assert refusal(document(), "a.pdf", MaterialKind.VIDEO) == "material_kind_takes_picture"


@pytest.mark.parametrize(
    "link",
    [
        "http://example.org/", "javascript:alert(1)", "https://", "https://localhost/", "https://user:pass@example.org/",
        "https://example.org/a b", "https://example.org\\@evil.example.net/", "//example.org/", "https://example.org:0/",
        "https://[::1/", "https://a..b/", "ftp://example.org", "https://example.org:99999/",
    ],
)  # fmt: skip
def test_refuses_a_link_that_is_not_https_to_a_site(session: Session, link: str) -> None:
    with pytest.raises(InvalidInput, match="link_invalid"):
        materials.create(session, told(MaterialKind.VIDEO, link=link), body=None, file_name=None)


def test_shows_the_site_of_a_link_in_ascii() -> None:
    assert materials.host_of("https://exаmple.org/") == "xn--exmple-4nf.org"  # a Cyrillic а


@pytest.mark.parametrize(
    ("field", "value"),
    [("title", "a\nb"), ("title", "a\0"), ("edition", "a\rb"), ("link", "https://e.mx/\n/"), ("full_text", "\0")],
)
def test_refuses_control_characters(field: str, value: str) -> None:
    with pytest.raises(ValidationError, match="string_pattern_mismatch"):
        MaterialIn.model_validate({"kind": "infographic", "title": "x", field: value})


def test_changes_only_what_is_told(session: Session) -> None:
    video = told(MaterialKind.VIDEO, link="https://example.org/v", edition="2027")
    material = materials.create(session, video, body=None, file_name=None)
    materials.change(session, material.id, MaterialPatch(edition=None, title=None))
    assert (material.edition, material.title) == (None, "Credencial desde el extranjero")
    with pytest.raises(InvalidInput, match="link_required"):
        materials.change(session, material.id, MaterialPatch(link=None))
    with pytest.raises(InvalidInput, match="link_invalid"):
        materials.change(session, material.id, MaterialPatch(link="http://example.org/"))
    with pytest.raises(NotFound, match="material_not_found"):
        materials.change(session, 2**40, MaterialPatch(title="x"))


def test_finds_materials_newest_first_by_kind_and_title(session: Session) -> None:
    videos = [told(MaterialKind.VIDEO, link=f"https://example.org/{n}", language="es" if n % 2 else "en") for n in range(5)]
    made = [materials.create(session, video, body=None, file_name=None) for video in videos]
    made[3].title = "Ñandú único"
    first, cursor = materials.find(session, limit=3)
    rest, end = materials.find(session, cursor=cursor, limit=3)
    assert [found.id for found in first + rest] == [found.id for found in reversed(made)]
    assert end is None
    assert [found.id for found in materials.find(session, text="UNICO nandu")[0]] == [made[3].id]
    assert len(materials.find(session, language=made[1].language, kind=MaterialKind.VIDEO)[0]) == 2
    assert materials.find(session, kind=MaterialKind.LEAFLET) == ([], None)


def test_gives_a_file_without_sign_in_only_when_it_is_public(session: Session) -> None:
    material = materials.create(session, told(), body=encoded(drawn()), file_name="a.png")
    other = materials.create(session, told(), body=encoded(drawn()), file_name="a.png")
    assert material.file_sha256 == other.file_sha256
    assert len({material.public_name, other.public_name}) == 2
    assert len(material.public_name) >= 32
    assert materials.to_out(session, material, SETTINGS).public_url is None
    assert materials.to_out(session, material, SETTINGS).public_name is None
    for name in (material.public_name, "", "a\0", "x" * 5000, "%"):
        with pytest.raises(NotFound, match="file_not_found"):
            materials.public(session, name)
    materials.change(session, material.id, MaterialPatch(is_public=True))
    assert materials.public(session, material.public_name) is material
    address = f"https://red.example.org/p/materiales/{material.public_name}"
    assert materials.to_out(session, material, SETTINGS).public_url == address
    with pytest.raises(NotFound, match="file_not_found"):
        materials.public(session, other.public_name)


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        (None, "material.png"), ("", "material.png"), ("..\\..\\etc/passwd", "passwd.png"), ("a.PNG", "a.png"),
        ("../../.png", "material.png"), ("foto\r\n\0.png", "foto.png"),
        ("ñ" * 400 + ".png", "ñ" * 196 + ".png"), ("a\u202egpj.png", "agpj.png"),
    ],
)  # fmt: skip
def test_tidies_the_name_of_a_file(given_name: str | None, kept: str) -> None:
    assert materials.check(encoded(drawn(8, 8)), given_name, MaterialKind.LEAFLET).name == kept


# --- what a file truly is --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "name", "code"),
    [
        (b"", "a.png", "file_empty"),
        (b"x" * (files.FILE_LIMIT + 1), "a.png", "file_too_large"),
        (b"<html><script>alert(1)</script>", "a.png", "file_type_refused"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "a.svg", "file_type_refused"),
        (b"GIF89a" + bytes(40), "a.gif", "file_type_refused"),
        (b"PK\x03\x04" + bytes(40), "a.pdf", "file_type_refused"),
        (b"MZ" + bytes(40), "a.jpg", "file_type_refused"),
        (document(), "a.png", "file_not_what_it_says"),
        (encoded(drawn(8, 8)), "a.pdf", "file_not_what_it_says"),
        (encoded(drawn(8, 8)), "a.html", "file_not_what_it_says"),
        (encoded(drawn(8, 8), "JPEG"), "a.png", "file_not_what_it_says"),
        (encoded(drawn(8, 8)) + b"<script>alert(1)</script>", "a.png", "file_not_what_it_says"),
        (encoded(drawn(8, 8), "JPEG") + b"\n<?php echo 1;", "a.jpg", "file_not_what_it_says"),
        (encoded(drawn(8, 8)) + b"PK\x05\x06" + bytes(18), "a.png", "file_not_what_it_says"),
        (encoded(drawn(8, 8), "JPEG", comment=b"%PDF-1.7"), "a.jpg", "file_not_what_it_says"),
        (b"\x89PNG\r\n\x1a\n", "a.png", "file_broken"),
        (b"\xff\xd8\xff\xd9", "a.jpg", "file_broken"),
        (b"RIFF\x04\0\0\0WEBP", "a.webp", "file_broken"),
        (b"%PDF-1.7\n", "a.pdf", "file_broken"),
        (encoded(drawn(8, 8), "PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")]), "a.png", "picture_animated"),
        (encoded(drawn(8, 8), "WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")]), None, "picture_animated"),
    ],
)  # fmt: skip
def test_refuses_a_file_that_is_not_what_it_says(body: bytes, name: str, code: str) -> None:
    assert refusal(body, name) == code


def test_takes_a_document_only_as_pdf() -> None:
    assert refusal(encoded(drawn()), "a.png", MaterialKind.DOCUMENT) == "material_kind_takes_pdf"
    for kind in (MaterialKind.DOCUMENT, MaterialKind.LEAFLET, MaterialKind.INFOGRAPHIC):
        assert materials.check(document(), "a.pdf", kind).media_type == "application/pdf"


def test_refuses_too_many_pixels_before_decoding_them() -> None:
    def bomb(width: int, height: int) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
        rows = zlib.compress(bytes(100_000), 9)
        chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
        )

    for width, height in ((50_000, 50_000), (2**31 - 1, 2**31 - 1), (6_400, PIXEL_LIMIT // 6_400 + 1), (16_001, 2)):
        assert refusal(bomb(width, height), "a.png") == "picture_too_large", (width, height)
    jpeg = bytearray(encoded(drawn(8, 8), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    assert refusal(bytes(jpeg), "a.jpg") == "picture_too_large"
    webp = bytearray(encoded(drawn(8, 8), "WEBP", lossless=True))
    webp[21:25] = struct.pack("<I", 16_000 | 16_000 << 14)
    assert refusal(bytes(webp), "a.webp") == "picture_too_large"


# --- what is stripped --------------------------------------------------------------------------------


def with_metadata(kind: str) -> bytes:
    """A picture 640 x 400 told to be turned a quarter, with a place, comments and bytes behind it."""
    exif = Image.Exif()
    exif[0x010E] = MARKER
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[29] = MARKER
    notes = PngInfo()
    notes.add_text("Comment", MARKER)
    notes.add_itxt("XML:com.adobe.xmp", MARKER, zip=True)
    options: dict[str, dict[str, Any]] = {
        "PNG": {"pnginfo": notes},
        "JPEG": {"comment": MARKER.encode()},
        "WEBP": {"xmp": MARKER.encode()},
    }
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    body = encoded(drawn(), kind, exif=exif.tobytes(), icc_profile=profile, **options[kind])
    assert MARKER.encode() in body
    return body + MARKER.encode()


@pytest.mark.parametrize("kind", TYPES)
def test_strips_metadata_and_turns_the_picture_upright(session: Session, kind: str) -> None:
    material = materials.create(session, told(), body=with_metadata(kind), file_name=None)
    for version in materials.Version:
        body = materials.file_of(session, material, version).body
        picture = opened(body)
        assert MARKER.encode() not in body
        assert not picture.getexif()
        assert not {"icc_profile", "exif", "comment", "xmp", "XML:com.adobe.xmp"} & picture.info.keys()
        assert picture.height > picture.width, version
        red, _, blue = picture.convert("RGB").getpixel((picture.width // 2, 2))  # type: ignore[misc]
        assert red > 180 > blue, "the red edge is on top after a quarter turn"


def swapped_profile() -> bytes:
    """A small ICC profile (ICC.1:2001) of a display whose red shines green, and whose green shines red."""
    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    tags = {b"wtpt": (0.9642, 1.0, 0.8249), b"rXYZ": green, b"gXYZ": red, b"bXYZ": blue}
    data = {
        name: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65_536) for value in values)) for name, values in tags.items()
    }
    data |= {name: b"curv\0\0\0\0" + struct.pack(">IHH", 1, 0x0233, 0) for name in (b"rTRC", b"gTRC", b"bTRC")}
    start = 128 + 4 + 12 * len(data)
    table = b""
    body = b""
    for name, value in data.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value
    header = struct.pack(">I4xI", start + len(body), 0x02100000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + struct.pack(">I", len(data)) + table + body


def test_moves_colours_of_another_profile_to_srgb() -> None:
    image = Image.new("RGB", (40, 40), (255, 0, 0))
    moved = opened(materials.check(encoded(image, icc_profile=swapped_profile()), None, MaterialKind.INFOGRAPHIC).body)
    red, green, _ = moved.getpixel((20, 20))  # type: ignore[misc]
    assert green > 200 > 60 > red
    assert "icc_profile" not in moved.info


def test_takes_a_picture_whose_profile_is_of_no_use() -> None:
    image = Image.new("RGB", (40, 40), (0, 255, 0))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    plain, odd, broken = (
        materials.check(encoded(image, icc_profile=profile), None, MaterialKind.INFOGRAPHIC).body
        for profile in (None, lab, b"not a profile")
    )
    assert plain == odd == broken


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_takes_every_mode_of_png(mode: str) -> None:
    image = Image.new("I;16", (30, 20), 65_535) if mode == "I;16" else drawn(30, 20).convert(mode)
    upload = materials.check(encoded(image), None, MaterialKind.INFOGRAPHIC)
    assert opened(upload.body).convert("RGB").getpixel((29, 19)) == (255, 255, 255)


def test_takes_a_jpeg_in_cmyk() -> None:
    upload = materials.check(encoded(drawn().convert("CMYK"), "JPEG"), None, MaterialKind.INFOGRAPHIC)
    assert opened(upload.body).mode == "RGB"


def test_takes_the_first_view_of_a_jpeg_with_two() -> None:
    two = encoded(drawn(), "MPO", save_all=True, append_images=[drawn(64, 40)])
    upload = materials.check(two, "foto.jpg", MaterialKind.INFOGRAPHIC)
    assert opened(upload.body).size == (640, 400)
    assert len(upload.body) < len(two) + 20_000


# --- what a mail gets --------------------------------------------------------------------------------


def test_makes_a_photo_light_enough_for_mail() -> None:
    photo = encoded(Image.effect_noise((2400, 1600), 70).convert("RGB"), "JPEG")
    mail = materials.check(photo, "foto.jpg", MaterialKind.INFOGRAPHIC).mail
    assert mail is not None
    assert mail.media_type == "image/jpeg"
    assert mail.width <= MAIL_WIDTH
    assert len(mail.body) <= MAIL_BYTES * 1.1


def test_keeps_flat_colours_and_transparency_as_png() -> None:
    flat = materials.check(encoded(drawn(1600, 900)), None, MaterialKind.INFOGRAPHIC).mail
    clear = Image.new("RGBA", (800, 800), (0, 0, 0, 0))
    ImageDraw.Draw(clear).ellipse((100, 100, 700, 700), fill=(200, 0, 80, 120))
    logo = materials.check(encoded(clear, "WEBP"), None, MaterialKind.INFOGRAPHIC).mail
    assert flat is not None
    assert logo is not None
    assert (flat.media_type, logo.media_type) == ("image/png", "image/png")
    assert opened(logo.body).convert("RGBA").getpixel((2, 2))[3] == 0  # type: ignore[index]
    assert max(len(flat.body), len(logo.body)) <= MAIL_BYTES


def test_does_not_enlarge_a_small_picture() -> None:
    mail = materials.check(encoded(drawn(90, 40)), None, MaterialKind.INFOGRAPHIC).mail
    assert mail is not None
    assert (mail.width, mail.height) == (90, 40)


# --- PDF --------------------------------------------------------------------------------


def _action(name: str, **extra: str) -> Any:
    entries = {NameObject("/S"): NameObject(name)} | {
        NameObject(f"/{key}"): TextStringObject(value) for key, value in extra.items()
    }
    return DictionaryObject(entries)


def _on_open(action: DictionaryObject) -> Any:
    return lambda writer: writer.root_object.update({NameObject("/OpenAction"): action})


def _on_page(annotation: dict[str, Any]) -> Any:
    entry = DictionaryObject({NameObject(key): value for key, value in annotation.items()})
    return lambda writer: writer.pages[0].update({NameObject("/Annots"): ArrayObject([entry])})


def _xfa(writer: PdfWriter) -> None:
    writer.root_object[NameObject("/AcroForm")] = DictionaryObject({NameObject("/XFA"): TextStringObject("x")})


@pytest.mark.parametrize(
    "change",
    [
        _on_open(_action("/JavaScript", JS="app.alert(1)")),
        _on_open(_action("/Launch", F="calc.exe")),
        _on_open(_action("/SubmitForm", F="https://example.net")),
        _on_open(_action("/URI", URI="java script:alert(1)")),
        _on_page({"/Subtype": NameObject("/Link"), "/A": _action("/GoToR", F="other.pdf")}),
        _on_page({"/Subtype": NameObject("/FileAttachment")}),
        _on_page({"/Subtype": NameObject("/RichMedia")}),
        _on_page({"/Subtype": NameObject("/Widget"), "/AA": DictionaryObject({NameObject("/E"): _action("/JavaScript")})}),
        lambda writer: writer.add_attachment("a.txt", b"secret"),
        _xfa,
    ],
)
def test_refuses_a_pdf_that_acts_or_carries_files(change: Any) -> None:
    assert refusal(document(change), "a.pdf") == "pdf_active_content"


def test_refuses_an_action_spelled_with_escapes() -> None:
    body = document(_on_open(_action("/Launch", F="calc.exe"))).replace(b"/Launch", b"/L#61unch")
    assert b"/L#61unch" in body
    assert refusal(body, "a.pdf") == "pdf_active_content"


def test_refuses_a_pdf_under_a_password() -> None:
    for password in ("", "clave"):
        assert refusal(document(lambda writer, told=password: writer.encrypt(told)), "a.pdf") == "pdf_encrypted"


def test_strips_the_metadata_of_a_pdf_and_keeps_its_pages_and_links() -> None:
    def change(writer: PdfWriter) -> None:
        note = StreamObject()
        note.set_data(MARKER.encode())
        writer.root_object[NameObject("/Metadata")] = writer._add_object(note)
        writer.root_object[NameObject("/Lang")] = TextStringObject("es-MX")
        link = {"/Subtype": NameObject("/Link"), "/A": _action("/URI", URI="https://example.org/")}
        _on_page(link)(writer)

    body = document(change, Author=MARKER, Producer=MARKER)
    assert body.count(MARKER.encode()) >= 2
    upload = materials.check(body + b"\n" + MARKER.encode(), "tríptico.pdf", MaterialKind.LEAFLET)
    assert MARKER.encode() not in upload.body
    kept = PdfReader(BytesIO(upload.body))
    assert len(kept.pages) == 1
    assert not kept.metadata
    assert str(kept.root_object["/Lang"]) == "es-MX"
    assert kept.pages[0]["/Annots"][0]["/A"]["/URI"] == "https://example.org/"  # type: ignore[index]
    assert (upload.name, upload.mail, upload.thumbnail) == ("tríptico.pdf", None, None)


def test_stores_a_pdf_without_picture(session: Session) -> None:
    material = materials.create(session, told(MaterialKind.DOCUMENT), body=document(), file_name="informe.pdf")
    out = materials.to_out(session, material, SETTINGS)
    assert out.file is not None
    assert (out.file.media_type, out.width) == ("application/pdf", None)
    with pytest.raises(NotFound, match="file_not_found"):
        materials.file_of(session, material, materials.Version.THUMBNAIL)
    assert session.get(Material, material.id) is material


# --- whatever comes --------------------------------------------------------------------------------

REAL = [encoded(drawn(64, 48), kind) for kind in TYPES] + [encoded(drawn(64, 48), "WEBP", lossless=True), document(Title="x")]
REAL += [
    encoded(drawn(64, 48), "JPEG", progressive=True),
    encoded(drawn(64, 48).convert("P")),
    with_metadata("JPEG"),
    with_metadata("WEBP"),
]


def survives(body: bytes, name: str | None = None) -> bool:
    """Whether a file was taken; it may be refused, and nothing else may happen."""
    refused: str | None = None
    try:
        materials.check(body, name, MaterialKind.LEAFLET)
    except (InvalidInput, TooLarge) as error:
        refused = error.sentence
    assert refused != "", "who is refused is told what to do"
    return refused is None


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x90\1\0\0WEBPVP8 ", b"%PDF-1.7\n"]),
)
def test_refuses_any_bytes_without_breaking(noise: bytes, start: bytes) -> None:
    survives(start + noise)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(REAL), st.data())
def test_refuses_a_file_cut_anywhere(body: bytes, data: st.DataObject) -> None:
    assert survives(body)
    cut = data.draw(st.integers(1, len(body) - 1))
    if body[:cut].startswith((b"\x89PNG", b"RIFF")):
        assert not survives(body[:cut]) or MARKER.encode() in body
    else:
        survives(body[:cut])


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(REAL),
    st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=6),
    st.text(max_size=12),
)
def test_survives_a_file_with_changed_bytes(body: bytes, changes: list[tuple[int, int]], name: str) -> None:
    damaged = bytearray(body)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    survives(bytes(damaged), name)


def test_refuses_a_picture_of_endless_pieces() -> None:
    """Small work for whoever writes it, hours for whoever would decode it."""
    body = encoded(drawn(64, 48), "JPEG", progressive=True)
    scan = body.index(b"\xff\xda")
    assert refusal(body[:-2] + body[scan:-2] * 100 + b"\xff\xd9", "a.jpg") == "file_broken"
    assert refusal(b"\xff\xd8\xff" + b"\xff\x01" * 2_000_000, "a.jpg") == "file_broken"
    png = encoded(drawn(8, 8))
    assert refusal(png[:33] + (b"\0\0\0\0teXt" + bytes(4)) * 200_000 + png[33:], "a.png") == "file_broken"


def test_refuses_a_jpeg_cut_in_its_picture() -> None:
    body = encoded(drawn(64, 48), "JPEG")
    for cut in range(1, len(body) - 1):
        assert not survives(body[:cut]), cut


def test_works_on_two_pictures_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    decode, at_work, most = pictures._decode, Semaphore(pictures.AT_ONCE), []

    def watched(body: bytes, media_type: str) -> Image.Image:
        most.append(at_work.acquire(blocking=False))
        try:
            sleep(0.05)
            return decode(body, media_type)
        finally:
            at_work.release()

    monkeypatch.setattr(pictures, "_decode", watched)
    body = encoded(drawn(64, 64))
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: materials.check(body, "a.png", MaterialKind.LEAFLET), range(8)))
    assert len(made) == 8
    assert all(most)


def test_lets_the_next_picture_in_after_one_that_is_broken() -> None:
    broken = encoded(drawn(64, 64))[:-40]
    for _ in range(pictures.AT_ONCE + 1):
        with pytest.raises(InvalidInput):
            materials.check(broken, "a.png", MaterialKind.LEAFLET)
    assert materials.check(encoded(drawn(64, 64)), "a.png", MaterialKind.LEAFLET).mail
