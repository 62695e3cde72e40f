"""Pictures made safe and right for mail: checked, decoded, drawn again without metadata, resized.

Everything that leaves here was encoded by us: no EXIF, GPS, comments, profiles or bytes behind the picture survive.
"""

from dataclasses import dataclass
from io import BytesIO
from threading import BoundedSemaphore

from PIL import Image, ImageCms, ImageOps

from crm.errors import InvalidInput
from crm.files import FILE_LIMIT
from crm.outreach.formats import JPEG, PNG, WEBP, shape_of

PIXEL_LIMIT = 40_000_000
"""Most pixels of a picture, checked before it is decoded: a small file may hold an enormous picture."""
SIDE_LIMIT = 16_000
"""Most pixels of one side (WebP ends at 16,383)."""
MAIL_WIDTH = 1200
"""Widest picture of a mail, in pixels: twice the 600 that mails are laid out in."""
MAIL_BYTES = 300 * 1024
"""Size that a picture of a mail aims at."""
MAIL_LEAST_WIDTH = 600
"""A picture of a mail is not made narrower than this only to weigh less."""
THUMBNAIL_SIDE = 320

AT_ONCE = 2
"""Most pictures that are worked on at once in a process: of the largest, each takes hundreds of megabytes."""

_turns = BoundedSemaphore(AT_ONCE)
_FORMATS = {PNG: "PNG", JPEG: "JPEG", WEBP: "WEBP"}
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Encoded:
    """A picture as bytes."""

    body: bytes
    media_type: str
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """The three sizes that are kept: the whole one, the one for mail, the thumbnail."""

    whole: Encoded
    mail: Encoded
    thumbnail: Encoded


def prepare(body: bytes, media_type: str) -> Picture:
    """Check, decode and draw again a picture of a type told by `formats.recognise`.

    It waits while `AT_ONCE` others are worked on. Errors: file_broken, file_not_what_it_says, picture_too_large,
    picture_animated.
    """
    shape = shape_of(body, media_type)
    _check_pixels(shape.width, shape.height)
    with _turns:
        image = _decode(body[: shape.end], media_type)
        return Picture(
            whole=_encode_whole(image, media_type, lossless=body[12:16] == b"VP8L" or body[30:34] == b"VP8L"),
            mail=encode_for_mail(image),
            thumbnail=_encode_thumbnail(image),
        )


def _check_pixels(width: int, height: int) -> None:
    if width * height > PIXEL_LIMIT or max(width, height) > SIDE_LIMIT:
        raise InvalidInput("picture_too_large", field="file", megapixels=PIXEL_LIMIT // 1_000_000, side=f"{SIDE_LIMIT:,}")


def _decode(body: bytes, media_type: str) -> Image.Image:
    """The pixels, upright, as sRGB (RGB or RGBA), with nothing else attached."""
    try:
        with Image.open(BytesIO(body), formats=[_FORMATS[media_type]]) as opened:
            _check_pixels(*opened.size)
            # A JPEG of a phone may carry a second view of the same scene; it is not animated.
            if opened.format != "MPO" and getattr(opened, "is_animated", False):
                raise InvalidInput("picture_animated", field="file")
            opened.load()
            return _in_srgb(_upright(opened))
    except InvalidInput:
        raise
    except Exception as error:  # decoders of foreign bytes fail in every way there is, and each means one thing
        raise InvalidInput("file_broken", field="file") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF: the picture itself is whole
        return image


def _in_srgb(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something shows through; nothing else comes along."""
    wanted = "RGBA" if image.has_transparency_data else "RGB"
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):  # 16 bits of grey: scaled, since `convert` would clip them
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    plain = image if image.mode in ("RGB", "RGBA", "CMYK", "L") else image.convert(wanted)
    made = (_through_profile(plain, profile, wanted) if profile else None) or plain.convert(wanted)
    if wanted == "RGBA" and made.getchannel("A").getextrema() == (255, 255):
        made = made.convert("RGB")
    made.info = {}
    return made


def _through_profile(image: Image.Image, profile: bytes, wanted: str) -> Image.Image | None:
    """The picture moved from its own colours to sRGB; None when the profile cannot be used, and the colours stand as they are."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=wanted)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


# --- encoding -------------------------------------------------------------------------------------------------------------


def _encode_whole(image: Image.Image, media_type: str, *, lossless: bool) -> Encoded:
    """The whole picture in the format that it came in, with less quality only where it would not fit in the store."""
    if media_type == PNG or lossless:
        return _png(image) if media_type == PNG else _encoded(image, WEBP, lossless=True, method=2)
    for quality in (92, 85, 75):
        options = {"method": 2} if media_type == WEBP else {"subsampling": 0, "optimize": True}
        made = _encoded(image, media_type, quality=quality, **options)
        if len(made.body) <= FILE_LIMIT:
            break
    return made


def encode_for_mail(image: Image.Image) -> Encoded:
    """At most `MAIL_WIDTH` wide and about `MAIL_BYTES`: PNG where flat colours or transparency make it right, else JPEG."""
    fitted = _no_wider(image, MAIL_WIDTH)
    flat = _flat_png(fitted)
    photo = _light_jpeg(fitted)
    if flat is None:
        return photo
    return flat if image.mode == "RGBA" or len(flat.body) <= 1.5 * len(photo.body) else photo


def _flat_png(image: Image.Image) -> Encoded | None:
    """A PNG within the size of a mail, at the cost of colours beyond 256 if it must; None when there is none."""
    whole = _png(image)
    if len(whole.body) <= MAIL_BYTES:
        return whole
    if image.mode != "RGBA":
        return None
    fewer = _png(image.quantize(256, method=Image.Quantize.FASTOCTREE))
    return fewer if len(fewer.body) <= MAIL_BYTES else None


def _light_jpeg(image: Image.Image) -> Encoded:
    """A JPEG of about the size of a mail: first less quality, then less width; transparent parts become white."""
    solid = _on_white(image)
    while True:
        for quality in (88, 82, 76, 68):
            made = _encoded(solid, JPEG, quality=quality, optimize=True, progressive=True)
            if len(made.body) <= MAIL_BYTES:
                return made
        narrower = int(solid.width * 0.85)
        if narrower < MAIL_LEAST_WIDTH:
            return made
        solid = _no_wider(solid, narrower)


def _encode_thumbnail(image: Image.Image) -> Encoded:
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return _png(small) if small.mode == "RGBA" else _encoded(small, JPEG, quality=82, optimize=True)


def _no_wider(image: Image.Image, width: int) -> Image.Image:
    if image.width <= width:
        return image
    return image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGB", image.size, _WHITE)
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _png(image: Image.Image) -> Encoded:
    return _encoded(image, PNG, optimize=image.width * image.height < 4_000_000)


def _encoded(image: Image.Image, media_type: str, **options: object) -> Encoded:
    target = BytesIO()
    image.save(target, _FORMATS[media_type], **options)
    return Encoded(target.getvalue(), media_type, image.width, image.height)
