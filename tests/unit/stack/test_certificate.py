"""The lab's certificate: made once, for its owner, valid whatever the clock says."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from rtap_lab.stack.certificate import certificate_of
from rtap_lab.stack.state import State


def test_it_is_made_once_however_many_ask(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.create()
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: certificate_of(state), range(16)))
    assert len(found) == 1
    assert certificate_of(state) in found
    assert [p.name for p in (tmp_path / "state" / "secrets").iterdir()] == ["tls"]


def test_only_its_owner_can_read_it_and_no_clock_ends_it(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.create()
    tls = certificate_of(state)
    folder = Path(tls.key).parent
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    assert {stat.S_IMODE(p.stat().st_mode) for p in (folder, folder.parent)} == {0o700}
    made = x509.load_pem_x509_certificate(Path(tls.certificate).read_bytes())
    assert made.not_valid_before_utc < datetime(2001, 1, 1, tzinfo=UTC)
    assert made.not_valid_after_utc > datetime(2090, 1, 1, tzinfo=UTC)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(n.value) for n in names] == ["127.0.0.1", "localhost"]
    assert tls.password not in repr(tls)


def test_two_labs_trust_each_other_not(tmp_path: Path) -> None:
    one, two = State(tmp_path / "one"), State(tmp_path / "two")
    for each in (one, two):
        each.create()
    assert Path(certificate_of(one).certificate).read_bytes() != Path(certificate_of(two).certificate).read_bytes()
    assert certificate_of(one).password != certificate_of(two).password
