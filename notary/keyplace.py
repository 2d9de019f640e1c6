"""Where private keys live, as a setting writes it: the folder of the house, a PKCS#11 token, or
AWS KMS.

    file:
    pkcs11:token=court?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin
    awskms:///alias/court?region=eu-central-1

The third names the beginning of the aliases that its keys have (`alias/court/statement-…`), by
itself or as an ARN. `endpoint` names a server other than Amazon's; credentials come from the usual
AWS environment.

The second is an RFC 7512 URI. `token` or `serial` says which token (`manufacturer` and `model` may
narrow it), `module-path` the library that reaches it, `pin-source` a file or, as `env:NAME`, a
variable that holds the PIN. The PIN itself has no place in it: settings are printed. PURE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from notary.errors import MalformedInput

_TOKEN = ("token", "serial", "manufacturer", "model")
_QUERY = ("module-path", "pin-source")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_ALIAS = re.compile(
    r"(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:)?alias/(?!aws/)[A-Za-z0-9_-][A-Za-z0-9/_-]{0,179}"
)
_UNRESERVED = re.compile(r"[A-Za-z0-9._~/:-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPlace:
    """Files of the house's `keys` folder."""

    def encode(self) -> str:
        return "file:"

    shown = encode


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPlace:
    """One token. `token`, `serial`, `manufacturer` and `model` are None where any will do."""

    module_path: str
    pin_source: str
    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None

    def attributes(self) -> dict[str, str]:
        """What the token must have, by RFC 7512's names."""
        said = {name: getattr(self, name) for name in _TOKEN}
        return {name: value for name, value in said.items() if value is not None}

    def shown(self) -> str:
        """The URI's path: which token, and nothing of how it is reached."""
        attributes = self.attributes().items()
        return "pkcs11:" + ";".join(f"{name}={_escaped(value)}" for name, value in attributes)

    def encode(self) -> str:
        return (
            f"{self.shown()}?module-path={_escaped(self.module_path)}"
            f"&pin-source={_escaped(self.pin_source)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsPlace:
    """The keys of one AWS account and region whose aliases begin with `alias` and '/'. `alias`
    is `alias/NAME`, or the ARN of that. `region` and `endpoint` are None for the environment's."""

    alias: str
    region: str | None = None
    endpoint: str | None = None

    def shown(self) -> str:
        return f"awskms:///{self.alias}"

    def encode(self) -> str:
        options = (("region", self.region), ("endpoint", self.endpoint))
        query = "&".join(f"{name}={_escaped(value)}" for name, value in options if value)
        return f"{self.shown()}?{query}" if query else self.shown()


KeyPlace = FolderPlace | TokenPlace | KmsPlace


def parse_key_place(text: str) -> KeyPlace:
    """Raises MalformedInput (`settings`), which names what is wrong and quotes no value: somebody
    may have written a PIN there."""
    if text == "file:":
        return FolderPlace()
    scheme, _, rest = text.partition(":")
    if scheme == "awskms":
        return _kms(rest)
    if scheme != "pkcs11":
        raise _refused("is neither 'file:' nor begins with 'pkcs11:' or 'awskms:'")
    path, _, query = rest.partition("?")
    token = dict(_attributes(path, ";", _TOKEN))
    reach = dict(_attributes(query, "&", _QUERY))
    if "token" not in token and "serial" not in token:
        raise _refused("names no token: it needs token=… or serial=…")
    module, pin = reach.get("module-path", ""), reach.get("pin-source", "")
    if not module.startswith("/"):
        raise _refused("needs module-path=, an absolute path, after '?'")
    if not re.fullmatch(r"file:/.+|env:[A-Za-z_][A-Za-z0-9_]*", pin):
        raise _refused("needs pin-source=file:/path or pin-source=env:NAME after '?'")
    return TokenPlace(module_path=module, pin_source=pin, **token)


def _kms(rest: str) -> KmsPlace:
    path, _, query = rest.partition("?")
    alias = path.removeprefix("///")
    if alias == path or not _ALIAS.fullmatch(alias):
        raise _refused(
            "is not awskms:///alias/NAME or awskms:///arn:aws:kms:REGION:ACCOUNT:alias/NAME, where "
            "NAME is at most 180 of A-Z a-z 0-9 / _ - and does not begin with aws/"
        )
    options = dict(_attributes(query, "&", ("region", "endpoint")))
    region, endpoint = options.get("region"), options.get("endpoint")
    if region is not None and not re.fullmatch(r"[a-z0-9-]{1,40}", region):
        raise _refused("has a region that is none")
    if endpoint is not None and not re.fullmatch(r"https?://[^/@?#]+/?", endpoint):
        raise _refused("has an endpoint that is not http://HOST:PORT or https://HOST:PORT")
    if alias.startswith("arn:"):
        said = alias.split(":")[3]
        if region not in (None, said):
            raise _refused(f"names region {said} in its ARN and another one beside it")
        region = said
    return KmsPlace(alias=alias, region=region, endpoint=endpoint)


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise _refused("has a pin-value: write the PIN into a file, and name that")
        if name not in known or not equals:
            raise _refused(f"has a part that is none of {', '.join(known)}")
        if name in seen:
            raise _refused(f"says {name} twice")
        seen.add(name)
        yield name, _unescaped(name, value)


def _unescaped(name: str, value: str) -> str:
    try:
        raw = re.sub(rb"%(..)", lambda found: bytes.fromhex(found[1].decode()), value.encode())
        text = raw.decode()
    except ValueError as exc:
        raise _refused(f"has a {name} that is not percent-encoded UTF-8") from exc
    if not text or "%" in _ESCAPE.sub("", value) or any(ord(c) < 32 for c in text):
        raise _refused(f"has a {name} that is empty, or has control characters or a stray %")
    return text


def _escaped(value: str) -> str:
    return "".join(
        c if _UNRESERVED.fullmatch(c) else "".join(f"%{byte:02X}" for byte in c.encode())
        for c in value
    )


def _refused(what: str) -> MalformedInput:
    return MalformedInput(f"a place of keys {what}", code="settings")
