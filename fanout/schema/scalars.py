"""AppSync's scalars: what is accepted from clients and what is sent to them. Knows GraphQL, nothing of Fanout.

The accepted forms are those of the AppSync developer guide, page "Scalar types in AWS AppSync":

| scalar | form |
|---|---|
| AWSDate | `YYYY-MM-DD`, offset optional |
| AWSTime | `hh:mm[:ss[.fraction]]`, offset optional |
| AWSDateTime | `YYYY-MM-DDThh:mm[:ss[.fraction]]`, offset required |
| AWSTimestamp | integer, seconds since 1970, may be negative |
| AWSEmail | `local@domain` |
| AWSJSON | a string that holds JSON |
| AWSURL | absolute URL with scheme, no `//` in its path |
| AWSPhone | digits, spaces and hyphens, `+` in front of a country code, else read as a US number; has to exist |
| AWSIPAddress | IPv4 or IPv6, prefix length optional |

An offset is `Z` or `+hh:mm[:ss]`. Values keep their text: what was accepted is what is compared, published and
sent. Both directions are checked; a value that does not fit becomes null with an error on the way out.

AWSJSON on the way out: a string in an event is taken for JSON text and has to be valid, as in AppSync; any other
value is encoded. So a publisher may send the parsed value, except for a bare string, which it has to encode.
"""

from __future__ import annotations

import ipaddress
import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import urlsplit

import orjson
import phonenumbers
from graphql import GraphQLError, GraphQLScalarType, GraphQLSchema
from graphql.pyutils import inspect

Coerce = Callable[[Any], Any]

_DATE = r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_HOUR_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"
# The guide's own sample list has "12:00:34.", a point without digits.
_TIME = rf"{_HOUR_MINUTE}(?::[0-5]\d(?:\.\d{{0,9}})?)?"
_OFFSET = rf"(?:Z|[+-]{_HOUR_MINUTE}(?::[0-5]\d)?)"
_match_date = re.compile(rf"{_DATE}{_OFFSET}?", re.ASCII).fullmatch
_match_time = re.compile(rf"{_TIME}{_OFFSET}?", re.ASCII).fullmatch
_match_date_time = re.compile(rf"{_DATE}T{_TIME}{_OFFSET}", re.ASCII).fullmatch
# RFC 822 section 6: atoms or a quoted string, then a domain of labels or a bracketed literal.
_ATOM = r"[^\s@<>()\[\]\\,;:\".\x00-\x1f\x7f]+"
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_match_email = re.compile(
    rf'(?:{_ATOM}(?:\.{_ATOM})*|"(?:[^"\\\r\n]|\\.)*")@(?:{_LABEL}(?:\.{_LABEL})*|\[[^\[\]\\\s]+\])'
).fullmatch
_MAX_EMAIL_LENGTH = 320
# RFC 1738 section 2.1: a scheme, a colon and what the scheme defines; never white space or control characters.
_match_url = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x1f\x7f]+").fullmatch
# Longest written form of an international number: 15 digits (ITU E.164), a group separator after each.
_match_phone = re.compile(r"\+?\d(?:[ -]?\d){1,16}", re.ASCII).fullmatch
_match_address = re.compile(r"[0-9a-fA-F:.]+(?:/\d{1,3})?", re.ASCII).fullmatch
_DEFAULT_PHONE_REGION = "US"
_MIN_LONG, _MAX_LONG = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class AwsScalar:
    """The two directions of one scalar; both raise `GraphQLError` for a value that does not fit."""

    parse: Coerce
    serialize: Coerce


def install_scalars(schema: GraphQLSchema) -> None:
    """Give AppSync's scalars of a schema that was just built from SDL their behaviour."""
    for name, scalar in AWS_SCALARS.items():
        type_ = schema.type_map.get(name)
        if isinstance(type_, GraphQLScalarType):
            type_.coerce_input_value = scalar.parse
            type_.coerce_output_value = scalar.serialize


def _refuse(name: str, value: object, expected: str) -> NoReturn:
    raise GraphQLError(f"{name} cannot represent value: {inspect(value)}, expected {expected}.")


def _text_scalar(name: str, expected: str, is_valid: Callable[[str], object]) -> AwsScalar:
    """A scalar whose values are text of a certain form, the same in both directions."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or not is_valid(value):
            _refuse(name, value, expected)
        return value

    return AwsScalar(check, check)


def _is_date(text: str) -> bool:
    return _is_day_of_month(_match_date(text))


def _is_date_time(text: str) -> bool:
    return _is_day_of_month(_match_date_time(text))


def _is_day_of_month(match: re.Match[str] | None) -> bool:
    if match is None:
        return False
    day = match[3]
    if day <= "28":
        return True
    year, month = int(match[1]), int(match[2])
    # Year 0 is a leap year (ISO 8601), which the calendar module does not know.
    return int(day) <= monthrange(year or 2000, month)[1]


def _is_email(text: str) -> bool:
    return len(text) <= _MAX_EMAIL_LENGTH and _match_email(text) is not None


def _is_url(text: str) -> bool:
    if _match_url(text) is None:
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    rest = text[len(parts.scheme) + 1 :]
    has_authority = rest.startswith("//")
    if has_authority and not parts.netloc and parts.scheme != "file":
        return False
    return "//" not in parts.path


# libphonenumber takes 50-100 us; a chat's payloads repeat few numbers. Texts are at most 34 characters.
@lru_cache(maxsize=4096)
def _is_phone(text: str) -> bool:
    if _match_phone(text) is None:
        return False
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, _DEFAULT_PHONE_REGION))
    except phonenumbers.NumberParseException:
        return False


def _is_ip_address(text: str) -> bool:
    if _match_address(text) is None:
        return False
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return True


def _check_timestamp(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not _MIN_LONG <= value <= _MAX_LONG:
        _refuse("AWSTimestamp", value, "an integer number of seconds since 1970-01-01T00:00Z")
    return value


def _check_json(value: Any) -> str:
    if not isinstance(value, str):
        _refuse("AWSJSON", value, "a string that holds JSON")
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        _refuse("AWSJSON", value, "a string that holds JSON")
    return value


def _write_json(value: Any) -> str:
    if isinstance(value, str):
        return _check_json(value)
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        _refuse("AWSJSON", value, "a value that can be written as JSON, nested to at most 254 levels")


AWS_SCALARS: dict[str, AwsScalar] = {
    "AWSDate": _text_scalar("AWSDate", "YYYY-MM-DD with an optional offset", _is_date),
    "AWSTime": _text_scalar("AWSTime", "hh:mm[:ss[.sss]] with an optional offset", _match_time),
    "AWSDateTime": _text_scalar("AWSDateTime", "YYYY-MM-DDThh:mm[:ss[.sss]] with an offset such as Z", _is_date_time),
    "AWSTimestamp": AwsScalar(_check_timestamp, _check_timestamp),
    "AWSEmail": _text_scalar("AWSEmail", "local@domain", _is_email),
    "AWSJSON": AwsScalar(_check_json, _write_json),
    "AWSURL": _text_scalar("AWSURL", "an absolute URL with a scheme", _is_url),
    "AWSPhone": _text_scalar("AWSPhone", "a phone number that exists, with +country code or of the US", _is_phone),
    "AWSIPAddress": _text_scalar("AWSIPAddress", "an IPv4 or IPv6 address, with an optional /prefix", _is_ip_address),
}
"""By name, in the order of the guide."""
