"""The dispatcher's tables.

A dispatch is one row, and values inside it that nothing searches for are JSON by their domain types. The row exists from the first that is
heard of a ticket, whatever topic it comes from: its primary key is what keeps two replicas from working on one ticket at once.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from chassis.inbox import inbox_table
from chassis.outbox import outbox_table

SCHEMA = "dispatcher"

metadata = MetaData(schema=SCHEMA)

_INSTANT = DateTime(timezone=True)

ticket_table = Table(
    "ticket",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("number", Text, nullable=False),
    Column("uscc", Text, nullable=False),
    Column("enterprise_name", Text, nullable=False),
    Column("request_district", Text, nullable=False),
    Column("enterprise_district", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("confidential", Boolean, nullable=False),
    Column("submit_time", _INSTANT, nullable=False),
    Column("traceparent", Text, comment="trace that the submission belongs to; what the guard does continues it"),
    Index("ticket_number", "number"),
    comment="what intake said of a ticket; never changes",
)

dispatch_table = Table(
    "dispatch",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("cycle", Integer, nullable=False, server_default="0", comment="0 for the submission, then the number of the reopening"),
    Column("assignment", JSONB),
    Column("accepted", Boolean, nullable=False),
    Column("leads", JSONB, nullable=False, comment="lead unit of every epoch"),
    Column("bounce_count", Integer, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("triage", JSONB),
    Column("triage_since", _INSTANT),
    Column("next_action_time", _INSTANT),
    Column("classification", JSONB),
    Column("due_time", _INSTANT),
    Column("pending_extension", JSONB),
    Column("supplement_question", Text, nullable=False),
    Column("supplements", JSONB, nullable=False),
    Column("resolution", Text, nullable=False),
    Column("early", JSONB, nullable=False, comment="what came before the ticket: [type, command] pairs"),
    Column("decision_id", Text),
    Column("order_time", _INSTANT, comment="time of the assignment, else of the submission; lists are ordered by it"),
    CheckConstraint("(order_time IS NULL) = (state = 'UNSUBMITTED')", name="dispatch_order_time"),
    Index("dispatch_next_action", "next_action_time", postgresql_where=text("next_action_time IS NOT NULL")),
    Index("dispatch_newest", "order_time", "ticket_id"),
    Index("dispatch_triage", "triage_since", "ticket_id", postgresql_where=text("triage_since IS NOT NULL")),
)

participant_table = Table(
    "participant",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("order_time", _INSTANT, nullable=False),
    Column("open", Boolean, nullable=False, comment="false once the ticket is resolved, withdrawn or declined"),
    Index("participant_newest", "unit", "order_time", "ticket_id"),
    Index("participant_open", "unit", "order_time", "ticket_id", postgresql_where=text("open")),
    comment="lead and co-handlers of the assignment in force: what a unit may see",
)

assignment_table = Table(
    "assignment",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("lead_unit", Text, nullable=False),
    Column("co_handlers", JSONB, nullable=False),
    Column("class_code", Text),
    Column("class_probability", Double, nullable=False),
    Column("district_code", Text),
    Column("method", Text, nullable=False),
    Column("dispatch_time", _INSTANT, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("accept_time", _INSTANT),
    Column("resolve_time", _INSTANT),
    Column("end_time", _INSTANT, comment="when it was taken from the unit; NULL while in force or resolved"),
    Column("end_reason", Text),
    Column("return_reason", Text),
    Column("suggested_unit", Text),
    comment="every assignment that ever was",
)

decision_table = Table(
    "decision_record",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("ticket_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("method", Text),
    Column("decide_time", _INSTANT, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("record", JSONB, nullable=False),
    Index("decision_of_ticket", "ticket_id", "decide_time"),
    comment="every decision with all that is needed to replay it",
)

keep_table = Table(
    "keep_stat",
    metadata,
    Column("unit", Text, primary_key=True),
    Column("class_code", Text, primary_key=True),
    Column("kept", BigInteger, nullable=False),
    Column("returned", BigInteger, nullable=False),
    comment="what units kept and returned of their own will",
)

inbox = inbox_table(metadata)
inbox.append_column(
    Column("fingerprint", LargeBinary, comment="SHA-256 of a unit's request; NULL: of another kind, or of a release before fingerprints")
)
inbox.append_column(Column("refused", Boolean, comment="true if a unit's request was refused"))
outbox = outbox_table(metadata)
