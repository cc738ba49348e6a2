"""What a savepoint says."""

from __future__ import annotations


def test_offsets_are_found_in_a_savepoints_bytes() -> None:
    import struct

    from rtap_lab.flink.savepoints import read_offsets

    def split(topic: bytes, partition: int, offset: int, stop: int = -(2**63)) -> bytes:
        return struct.pack(">H", len(topic)) + topic + struct.pack(">iqq", partition, offset, stop)

    data = (
        b"noise\x00\x06events" + split(b"events", 3, 77) + b"x" + split(b"events", 11, 0) + split(b"events", 4, 9, 12)
    )
    assert read_offsets(data + split(b"other", 0, 5), "events") == {3: 77, 11: 0}
    assert read_offsets(b"", "events") == {}
