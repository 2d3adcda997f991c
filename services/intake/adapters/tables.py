"""Tables of tickets, contacts, changes, request keys, numbers and enterprises."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)

from chassis.inbox import inbox_table
from chassis.outbox import outbox_table

SCHEMA = "intake"

metadata = MetaData(schema=SCHEMA)

_INSTANT = DateTime(timezone=True)

ticket_table = Table(
    "ticket",
    metadata,
    Column("ticket_id", Text, primary_key=True),
    Column("number", Text, nullable=False, unique=True),
    Column("portal", Text, nullable=False),
    Column("uscc", Text, nullable=False),
    Column("enterprise_name", Text, nullable=False),
    Column("enterprise_district", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("district", Text, nullable=False),
    Column("confidential", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("create_time", _INSTANT, nullable=False),
    Column("update_time", _INSTANT, nullable=False),
    Column("due_time", _INSTANT),
    Column("lead_unit", Text),
    Column("co_handler_units", ARRAY(Text), nullable=False),
    Column("class_code", Text),
    Column("dispatch_epoch", Integer, nullable=False),
    Column("supplement_question", Text, nullable=False),
    Column("resolution", Text, nullable=False),
    Column("resolve_time", _INSTANT),
    Column("decline_reason", Text, nullable=False),
    Column("solved", Text),
    Column("score", SmallInteger),
    Column("rating_comment", Text),
    Column("rate_time", _INSTANT),
    Column("reopen_count", Integer, nullable=False),
    Index("ticket_newest", "create_time", "ticket_id"),
    Index("ticket_of_portal", "portal", "create_time", "ticket_id"),
    Index("ticket_of_enterprise", "uscc", "create_time", "ticket_id"),
    Index("ticket_resolved", "resolve_time", postgresql_where=text("state = 'RESOLVED'")),
)

contact_table = Table(
    "contact",
    metadata,
    Column("ticket_id", Text, ForeignKey(ticket_table.c.ticket_id), primary_key=True),
    Column("name", Text, nullable=False),
    Column("phone", Text, nullable=False),
    comment="personal data: read by GetContact only",
)

contact_look_table = Table(
    "contact_look",
    metadata,
    Column("look_id", Text, primary_key=True),
    Column("ticket_id", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("look_time", _INSTANT, nullable=False),
    Index("contact_look_of_ticket", "ticket_id"),
)

change_table = Table(
    "ticket_change",
    metadata,
    Column("ticket_id", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("occur_time", _INSTANT, nullable=False),
    Column("kind", Text, nullable=False),
    Column("unit", Text),
    Column("note", Text, nullable=False),
    PrimaryKeyConstraint("ticket_id", "version"),
)

request_key_table = Table(
    "request_key",
    metadata,
    Column("portal", Text, nullable=False),
    Column("scope", Text, nullable=False, comment="submit, or the id of the ticket"),
    Column("request_id", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("ticket_id", Text, nullable=False),
    PrimaryKeyConstraint("portal", "scope", "request_id"),
)

number_counter_table = Table(
    "number_counter",
    metadata,
    Column("day", Date, nullable=False),
    Column("district", Text, nullable=False),
    Column("last", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "district"),
)

enterprise_table = Table(
    "enterprise",
    metadata,
    Column("uscc", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("district", Text, nullable=False),
)

outbox = outbox_table(metadata)
inbox = inbox_table(metadata)
