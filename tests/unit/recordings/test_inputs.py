"""Input files, their lines, and what is kept of a refused one."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from rtap_lab.errors import SourceError
from rtap_lab.recordings import inputs as files
from rtap_lab.recordings.rejects import KEPT_BYTES, key_of, reject_row


def test_inputs_are_read_plain_and_packed_with_one_digest(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x\ny\n")
    with gzip.open(tmp_path / "a.log.gz", "wb") as out:
        out.write(b"x\ny\n")
    plain, digest = files.open_input(str(tmp_path / "a.log"))
    packed, same = files.open_input(str(tmp_path / "a.log.gz"))
    assert digest == same
    assert (
        [line.text for line in files.lines_of(plain)] == [line.text for line in files.lines_of(packed)] == [b"x", b"y"]
    )
    plain.close()
    packed.close()


def test_a_packed_file_that_is_damaged_anywhere_is_one_clear_error(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b"%d\n" % (number * number) for number in range(100_000)))
    damaged = {
        "none.log": None,
        "no.gz": b"no gzip",
        "cut.gz": whole[: len(whole) // 2],
        "flipped.gz": whole[:5000] + bytes(255 - each for each in whole[5000:5004]) + whole[5004:],
        "sum.gz": whole[:-8] + b"\0" * 8,
        "more.gz": whole + b"garbage",
    }
    for name, data in damaged.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match=f"{name} cannot be read"):
            files.open_input(str(tmp_path / name))


def test_a_common_log_gets_one_message() -> None:
    line = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1\n'
    with pytest.raises(SourceError, match="Referer and User-Agent"):
        files.check_format(io.BytesIO(line * 3), "x.log")
    files.check_format(io.BytesIO(b"garbage\n"), "x.log")


def test_a_line_of_any_length_is_one_line() -> None:
    long = b"a" * (files.LINE_LIMIT * 5)
    found = list(files.lines_of(io.BytesIO(b"x\n" + long + b"\ny\r\n")))
    assert [line.number for line in found] == [1, 2, 3]
    assert found[2].text == b"y"
    assert files.read_line(found[1], "jsonl", "d", b"", 0) == "size"


def test_what_is_kept_of_a_refused_record_is_bounded() -> None:
    row = reject_row(source="s", reason="parse", record=b"\xff" * 100_000, line=3, file="f")
    assert row["size"] == 100_000
    assert len(row["record"]) <= KEPT_BYTES
    assert key_of(row) == b"s/f/3"
