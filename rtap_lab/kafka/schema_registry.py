"""The schema registry: the event's schema under its rule, over the Confluent-compatible API."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import ServiceError

SUBJECT = "events-value"
RULE = "BACKWARD_TRANSITIVE"


class Registry:
    """Registers and reads the event's JSON Schema.

    Args:
        registry: Where the registry is.
    """

    def __init__(self, registry: Endpoint) -> None:
        config: dict[str, Any] = {"url": f"{registry}/apis/ccompat/v7", "timeout": 10}
        if registry.tls:
            config |= {"ssl.ca.location": registry.tls.certificate}
        self.client = SchemaRegistryClient(config)

    def register(self, schema: dict[str, Any], subject: str = SUBJECT) -> int:
        """Register a schema under the contract's rule; the id of an equal one that is there.

        Raises:
            ServiceError: When the registry refuses it, with its reason.
        """
        try:
            self.client.set_compatibility(subject, RULE)
            return int(self.client.register_schema(subject, Schema(json.dumps(schema), "JSON")))
        except SchemaRegistryError as error:
            raise ServiceError(
                f"registry: the schema of {subject} was refused: {error.error_message}",
                service="registry",
                hint=f"under {RULE} only optional fields may be added",
            ) from error

    def schema(self, schema_id: int) -> dict[str, Any]:
        """A registered schema."""
        text = self.client.get_schema(schema_id).schema_str
        return dict(json.loads(text or "{}"))
