"""Addresses are told without what opens them."""

from urllib.parse import quote, urlsplit

import pytest

from handlens.data.addresses import place_of, text_without_secrets, without_secrets, word_without_secrets

PASSWORDS = ["word", "w@rd", "@w@@rd@", "w::rd", "w:rd", "w?rd"]


@pytest.mark.parametrize("protocol", ["https", "s3", "ftp", "HTTPS"])
@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_is_hidden_whole(protocol, password):
    address = f"{protocol}://me:{password}@host.org/a@b/x.zip"
    bare = f"{protocol}://host.org/a@b/x.zip"
    assert without_secrets(address) == place_of(address) == word_without_secrets(address) == bare
    assert without_secrets(f"zip://top::{address}") == f"zip://top::{bare}"
    assert text_without_secrets(f"see {address}, me@host.org") == f"see {bare}, me@host.org"
    assert word_without_secrets(f"--data={address}") == f"--data={bare}"


@pytest.mark.parametrize("password", PASSWORDS)
def test_what_is_told_of_an_address_is_its_host_and_path(password):
    address = f"https://me:{quote(password)}@host.org:8080/photos/x.zip?token=abc"
    parts = urlsplit(address)
    told = f"https://{parts.hostname}:{parts.port}{parts.path}"
    assert without_secrets(address) == word_without_secrets(address) == told
    assert text_without_secrets(f"({address})") == f"({told})"


@pytest.mark.parametrize(
    "word",
    [
        "train",
        "my photos",
        "--out=a@b",
        "-s",
        "train.epochs=3",
        "(?<=a)://x@",
        "C:\\x",
        "me@host.org",
        "a=b://",
    ],
)
def test_other_words_stay_as_they_are(word):
    assert word_without_secrets(word) == word


def test_signatures_in_text_are_hidden_however_the_protocol_is_written():
    assert text_without_secrets("HTTPS://h.org/a.csv?sig=1 failed") == "HTTPS://h.org/a.csv failed"
