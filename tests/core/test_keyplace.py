"""Where keys live, as a setting writes it: strict, and never quoting what may be a PIN."""

from __future__ import annotations

from pathlib import Path

import pytest

from notary.errors import MalformedInput
from notary.keyplace import FolderPlace, KmsPlace, TokenPlace, parse_key_place
from notary.settings import Settings

REACH = "?module-path=/usr/lib/module.so&pin-source=file:/run/pin"


def test_files_are_the_house_s_own_folder() -> None:
    assert parse_key_place("file:") == FolderPlace()
    assert Settings(home=Path("/x")).key_places == (FolderPlace(),)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"pkcs11:token=court{REACH}", {"token": "court"}),
        (f"pkcs11:serial=0a1b;token=court{REACH}", {"token": "court", "serial": "0a1b"}),
        (f"pkcs11:token=%E6%B3%95%E9%99%A2%20a%3Bb{REACH}", {"token": "法院 a;b"}),
        (
            f"pkcs11:token=a;manufacturer=SoftHSM%20project;model=SoftHSM%20v2{REACH}",
            {"token": "a", "manufacturer": "SoftHSM project", "model": "SoftHSM v2"},
        ),
    ],
)
def test_a_token_is_named_as_rfc_7512_has_it(text: str, place: dict[str, str]) -> None:
    expected = TokenPlace(module_path="/usr/lib/module.so", pin_source="file:/run/pin", **place)
    assert parse_key_place(text) == expected
    assert parse_key_place(expected.encode()) == expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("awskms:///alias/court", KmsPlace(alias="alias/court")),
        (
            "awskms:///alias/court/chamber-1?region=eu-central-1",
            KmsPlace(alias="alias/court/chamber-1", region="eu-central-1"),
        ),
        (
            "awskms:///alias/c?region=r&endpoint=http://127.0.0.1:4566",
            KmsPlace(alias="alias/c", region="r", endpoint="http://127.0.0.1:4566"),
        ),
        (
            "awskms:///arn:aws-cn:kms:cn-north-1:111122223333:alias/court",
            KmsPlace(alias="arn:aws-cn:kms:cn-north-1:111122223333:alias/court",
                     region="cn-north-1"),
        ),
    ],
)  # fmt: skip
def test_kms_is_named_by_the_beginning_of_its_aliases(text: str, place: KmsPlace) -> None:
    assert parse_key_place(text) == place
    assert parse_key_place(place.encode()) == place
    assert "endpoint" not in place.shown()


def test_what_is_shown_says_which_token_and_nothing_of_how_it_is_reached() -> None:
    place = parse_key_place(f"pkcs11:token=my%20court{REACH}")
    assert place.shown() == "pkcs11:token=my%20court"


@pytest.mark.parametrize(
    "text",
    [
        "", "file", "file:/somewhere", "file:///keys", "pkcs11", "pkcs11:", "PKCS11:token=a",
        "awskms:///eu-central-1", "awskms:", "awskms://alias/a", "awskms:///alias/",
        "awskms:///alias/aws/s3", "awskms:///alias/a b", "awskms:///key/1-2",
        "awskms:///arn:aws:kms:eu-central-1:111122223333:key/1-2",
        "awskms:///arn:aws:kms:eu-central-1:1:alias/a", "awskms:///alias/a?region=",
        "awskms:///alias/a?region=EU", "awskms:///alias/a?profile=x",
        "awskms:///alias/a?region=a&region=b", "awskms:///alias/a?endpoint=kms.example",
        "awskms:///alias/a?endpoint=http://id:secret@kms.example",
        "awskms:///alias/a?endpoint=http://kms.example/path",
        "awskms:///arn:aws:kms:eu-central-1:111122223333:alias/a?region=us-east-1",
        f"awskms:///alias/{'a' * 181}", f"pkcs11:{REACH}", f"pkcs11:model=a{REACH}",
        f"pkcs11:token={REACH}", f"pkcs11:token{REACH}", f"pkcs11:token=a;token=b{REACH}",
        f"pkcs11:token=a;id=%01{REACH}", f"pkcs11:token=a;object=b{REACH}",
        f"pkcs11:token=a;;serial=b{REACH}", f"pkcs11:token=%zz{REACH}", f"pkcs11:token=%2{REACH}",
        f"pkcs11:token=%FF{REACH}", f"pkcs11:token=a%00{REACH}", f"pkcs11:token=a%{REACH}",
        "pkcs11:token=a", "pkcs11:token=a?module-path=/m", "pkcs11:token=a?pin-source=file:/p",
        "pkcs11:token=a?module-path=m.so&pin-source=file:/p",
        "pkcs11:token=a?module-path=/m&pin-source=/p",
        "pkcs11:token=a?module-path=/m&pin-source=|cat",
        "pkcs11:token=a?module-path=/m&pin-source=file:p",
        "pkcs11:token=a?module-path=/m&pin-source=env:",
        "pkcs11:token=a?module-path=/m&pin-source=env:A=B",
        "pkcs11:token=a?module-path=/m&module-path=/n&pin-source=env:A",
        "pkcs11:token=a?module-path=/m&pin-source=env:A&module-name=x",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_key_place(text)
    assert caught.value.code == "settings"


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=a?module-path=/m&pin-value=SECRET7",
        "pkcs11:token=a;pin-value=SECRET7?module-path=/m",
        "pkcs11:token=a?module-path=/m&pin-source=SECRET7",
        "pkcs11:token=a?module-path=/m&pin=SECRET7",
        "SECRET7",
    ],
)
def test_a_pin_in_the_wrong_place_is_not_repeated(text: str) -> None:
    with pytest.raises(MalformedInput, match="NOTARY_KEYS") as caught:
        Settings.from_env({"NOTARY_KEYS": f"file: {text}"})
    assert "SECRET7" not in str(caught.value)


def test_several_places_stand_in_their_order() -> None:
    text = f"pkcs11:token=new{REACH} file:  pkcs11:token=old{REACH}"
    shown = [place.shown() for place in Settings.from_env({"NOTARY_KEYS": text}).key_places]
    assert shown == ["pkcs11:token=new", "file:", "pkcs11:token=old"]
