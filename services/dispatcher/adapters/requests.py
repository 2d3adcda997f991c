"""Requests of units by their ids. The inbox stores the fingerprint and the outcome with each id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from chassis.inbox import claim
from services.dispatcher.adapters.tables import inbox
from services.dispatcher.application.ports import KnownRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

_NOTE = text(f"""
    UPDATE {inbox.fullname} AS i SET fingerprint = row.fingerprint, refused = row.refused
    FROM unnest(CAST(:ids AS text[]), CAST(:fingerprints AS bytea[]), CAST(:refused AS boolean[])) AS row (message_id, fingerprint, refused)
    WHERE i.message_id = row.message_id
""")  # noqa: S608 - the table's name is ours


class SqlRequests:
    """`Requests` on the table `inbox`, in a transaction."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def claim(self, key: str, request: KnownRequest) -> KnownRequest | None:
        """See `Requests.claim`."""
        if claim(self._conn, inbox, [key]):
            self.note({key: request})
            return None
        return self.known([key], lock=True).get(key)

    def note(self, requests: Mapping[str, KnownRequest]) -> None:
        """Store fingerprint and outcome of ids that this transaction claimed."""
        if requests:
            known = requests.values()
            bound = {"fingerprints": [each.fingerprint for each in known], "refused": [each.refused for each in known]}
            self._conn.execute(_NOTE, {"ids": list(requests), **bound})

    def known(self, keys: Sequence[str], *, lock: bool = False) -> Mapping[str, KnownRequest]:
        """Return fingerprint and outcome of claimed ids."""
        if not keys:
            return {}
        statement = f"SELECT message_id, fingerprint, refused FROM {inbox.fullname} WHERE message_id = ANY(:keys)"  # noqa: S608 - the same
        rows = self._conn.execute(text(statement + (" FOR UPDATE" if lock else "")), {"keys": list(keys)})
        return {row.message_id: KnownRequest(row.fingerprint, refused=bool(row.refused)) for row in rows}
