"""Pure: what a savepoint says: its number, and how far a Kafka topic was read.

After a drain the source commits no last offsets to its consumer group, so they are read where Flink keeps
them: in the savepoint's `_metadata`, whose operator state holds the source's splits as
`KafkaPartitionSplitSerializer` (connector 5.0) writes them: topic (modified UTF-8, length first),
partition (int), next offset (long), stopping offset (long; none is the least long).
"""

from __future__ import annotations

import struct

_NO_STOPPING_OFFSET = struct.pack(">q", -(2**63))


_MAGIC = 0x4960672D
"""What a `_metadata` begins with; then its version, and the checkpoint's number (`Checkpoints.storeCheckpointMetadata`)."""


def checkpoint_number(metadata: bytes) -> int | None:
    """The number of a checkpoint or savepoint, counted over all jobs of a run; None when it is none that can be read."""
    if len(metadata) < 24:
        return None
    magic, version, number = struct.unpack_from(">iiq", metadata)
    return number if magic == _MAGIC and version > 0 and number >= 0 else None


def read_offsets(metadata: bytes, topic: str) -> dict[int, int]:
    """The next offset of each partition of an unbounded source; empty when there is none of the topic.

    Args:
        metadata: The content of `_metadata`.
        topic: The topic's name, ASCII.
    """
    name = topic.encode("ascii")
    mark = struct.pack(">H", len(name)) + name
    found: dict[int, int] = {}
    at = metadata.find(mark)
    while at >= 0:
        begin = at + len(mark)
        split = metadata[begin : begin + 20]
        if len(split) == 20 and split[12:] == _NO_STOPPING_OFFSET:
            partition, offset = struct.unpack(">iq", split[:12])
            if 0 <= partition < 100_000 and offset >= 0:
                found[partition] = max(offset, found.get(partition, 0))
        at = metadata.find(mark, at + 1)
    return found
