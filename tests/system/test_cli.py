"""The `paidan` command against a running stack: every command, with --json, as a script would use it."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from cli.connection import VARIABLE
from cli.main import app
from cli.up import make_connection
from tests.support.requests import CREDIT, FIRE_REVIEW, FREIGHT, PLANNING, POWER, USCC, WATER, Matter, unique
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.actors import Unit
    from tests.support.city import City

    Units = Callable[[str], Unit]


class Paidan:
    """The command, in this process."""

    def __init__(self) -> None:
        self._runner = CliRunner()

    def __call__(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command that must succeed; returns the objects that it printed."""
        result = self._runner.invoke(app, [*arguments, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def one(self, *arguments: str) -> dict[str, Any]:
        """Run a command that prints one object."""
        (printed,) = self(*arguments)
        return printed

    def plain(self, *arguments: str) -> str:
        """Run a command without --json; returns what it printed."""
        result = self._runner.invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    def fails(self, *arguments: str) -> str:
        """Run a command that must fail; returns what it printed."""
        result = self._runner.invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 1, result.output
        return result.output

    def submit(self, matter: Matter, *options: str) -> str:
        """Submit a request; returns the ticket's id."""
        where = ["--district", matter.district] if matter.district else []
        return str(self.one("submit", unique(matter.text), "--uscc", USCC, *where, *options)["ticket"]["ticketId"])

    def dispatched(self, ticket_id: str, epoch: int = 1) -> dict[str, Any]:
        """Return the ticket once it is with a unit."""

        def there() -> dict[str, Any] | None:
            ticket = self.one("ticket", "show", ticket_id)
            return ticket if ticket.get("dispatchEpoch") == epoch and ticket["state"] == "TICKET_STATE_DISPATCHED" else None

        return eventually(there, f"dispatch of {ticket_id}")

    def in_state(self, ticket_id: str, state: str) -> dict[str, Any]:
        """Return the ticket once it is in a state."""

        def there() -> dict[str, Any] | None:
            ticket = self.one("ticket", "show", ticket_id)
            return ticket if ticket["state"] == f"TICKET_STATE_{state}" else None

        return eventually(there, f"{state} of {ticket_id}")


@pytest.fixture
def paidan(city: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paidan:
    path = tmp_path / "connection.json"
    make_connection(city.stack).save(path)
    monkeypatch.setenv(VARIABLE, str(path))
    return Paidan()


def test_a_portal_submits_follows_and_rates_and_a_unit_works(paidan: Paidan) -> None:
    ticket_id = paidan.submit(FIRE_REVIEW)
    ticket = paidan.dispatched(ticket_id)
    listed = paidan("ticket", "list", "--uscc", USCC, "--limit", "5")
    unit = ticket["leadUnit"]

    accepted = paidan.one("unit", "accept", unit, ticket_id)
    contact = paidan.one("unit", "contact", unit, ticket_id)
    told = paidan.one("unit", "progress", unit, ticket_id, "已约明天现场查看")
    resolved = paidan.one("unit", "resolve", unit, ticket_id, "已出具意见书", "--epoch", "1")
    paidan.in_state(ticket_id, "RESOLVED")
    rated = paidan.one("ticket", "rate", ticket_id, "5", "--comment", "很快")
    watched = [change["kind"] for change in paidan("ticket", "watch", ticket_id)]

    assert unit == FIRE_REVIEW.lead
    assert ticket_id in {each["ticketId"] for each in listed}
    assert accepted["state"] == told["state"] == "DISPATCH_STATE_ACCEPTED"
    assert contact["contact"]["name"] == "联系人"
    assert resolved["state"] == "DISPATCH_STATE_RESOLVED"
    assert rated["state"] == "TICKET_STATE_CLOSED"
    assert [kind for kind in watched if kind != "due_time_set"] == ["submitted", "dispatched", "accepted", "progress", "resolved", "rated"]


def test_repeating_a_submission_with_its_request_id_makes_no_second_ticket(paidan: Paidan) -> None:
    words, request_id = unique(CREDIT.text), uuid.uuid4().hex

    first = paidan.one("submit", words, "--uscc", USCC, "--request-id", request_id)
    again = paidan.one("submit", words, "--uscc", USCC, "--request-id", request_id)

    assert again["ticket"]["ticketId"] == first["ticket"]["ticketId"]
    assert again["duplicate"] is True


def test_a_unit_returns_asks_and_wishes_and_the_desk_decides(paidan: Paidan) -> None:
    ticket_id = paidan.submit(POWER)
    unit = paidan.dispatched(ticket_id)["leadUnit"]

    paidan.one("unit", "return", unit, ticket_id, "--reason", "insufficient_information", "--note", "请分拨")
    waiting = {item["ticketId"]: item for item in paidan("triage", "list", "--limit", "200")}
    paidan.one("triage", "decide", ticket_id, "--unit", "zfcxjw", "--note", "请牵头")
    paidan.dispatched(ticket_id, epoch=2)
    moved = paidan.one("triage", "transfer", ticket_id, "kjj", "职责调整", "--epoch", "2")
    paidan.dispatched(ticket_id, epoch=3)
    wished = paidan.one("unit", "extend", "kjj", ticket_id, "2", "需要现场勘察")
    granted = paidan.one("triage", "extension", ticket_id, "--grant", "--note", "同意")
    asked = paidan.one("unit", "supplement", "kjj", ticket_id, "请补充用电合同")
    paidan.in_state(ticket_id, "AWAITING_SUPPLEMENT")
    answered = paidan.one("ticket", "supplement", ticket_id, "合同已上传")
    mine = {each["ticketId"] for each in paidan("unit", "list", "kjj")}

    assert waiting[ticket_id]["reason"] == "TRIAGE_REASON_RETURNED"
    assert (moved["leadUnit"], moved["epoch"]) == ("kjj", 3)
    assert wished["pendingExtension"]["workdays"] == 2
    assert "pendingExtension" not in granted
    assert asked["state"] == "DISPATCH_STATE_AWAITING_SUPPLEMENT"
    assert answered["state"] == "TICKET_STATE_ACCEPTED"
    assert ticket_id in mine


def test_a_ticket_is_withdrawn_another_reopened_a_third_declined(paidan: Paidan) -> None:
    gone, back, foreign = paidan.submit(PLANNING), paidan.submit(WATER), paidan.submit(POWER)
    paidan.dispatched(gone)
    unit = paidan.dispatched(back)["leadUnit"]
    other = paidan.dispatched(foreign)["leadUnit"]

    withdrawn = paidan.one("ticket", "withdraw", gone, "--reason", "已自行解决")
    paidan.one("unit", "resolve", unit, back, "已疏通")
    paidan.in_state(back, "RESOLVED")
    paidan.one("ticket", "reopen", back, "第二天又堵了")
    reopened = paidan.dispatched(back, epoch=2)
    paidan.one("unit", "return", other, foreign, "--reason", "not_a_city_matter")
    declined = paidan.one("triage", "decide", foreign, "--decline", "不属于受理范围", "--channel", "12345")

    assert withdrawn["state"] == "TICKET_STATE_WITHDRAWN"
    assert reopened["reopenCount"] == 1
    assert declined["state"] == "DISPATCH_STATE_DECLINED"


def test_dead_letters_are_listed_shown_and_redriven(paidan: Paidan, city: City, unit: Units) -> None:
    topic, garbage = "receipts.500155.v1", f"kein JSON {uuid.uuid4().hex}".encode()
    unit("500155").send(garbage)
    eventually(lambda: [each for each in city.dead_letters() if each.value == garbage], "dead letter")

    (letter,) = [each for each in paidan("dlq", "list") if each["topic"] == topic]
    shown = paidan.one("dlq", "show", topic, str(letter["offset"]))
    redriven = paidan.one("dlq", "redrive", topic)
    again = eventually(
        lambda: [each for each in paidan("dlq", "list") if each["topic"] == topic and each["offset"] > letter["offset"]], "second burial"
    )

    assert (letter["reason"], letter["consumer"]) == ("UNREADABLE", "paidan-dispatcher")
    assert shown["payload"].encode() == garbage
    assert redriven == {"topic": topic, "redriven": 1}
    assert len(again) == 1


def test_tokens_are_issued_listed_used_and_revoked(paidan: Paidan, city: City) -> None:
    issued = paidan.one("token", "issue", "unit", "500107")

    listed = {each["token_id"]: each for each in paidan("token", "list")}
    paidan.plain("token", "revoke", issued["token_id"])
    revoked = {each["token_id"]: each for each in paidan("token", "list")}

    assert issued["token"].startswith(f"paidan_{issued['token_id']}_")
    assert listed[issued["token_id"]]["revoke_time"] is None
    assert revoked[issued["token_id"]]["revoke_time"] is not None
    assert issued["token"] not in json.dumps(list(listed.values()))
    assert "no token" in paidan.fails("token", "revoke", issued["token_id"])
    assert city.query("SELECT FROM identity.caller_token WHERE token_id = :id", id=issued["token_id"])


def test_set_up_may_be_repeated(paidan: Paidan, tmp_path: Path) -> None:
    registry = tmp_path / "registry.csv"
    registry.write_text(f"uscc,name,district_code\n{USCC},重庆渝西传动机械有限公司,500107\n", encoding="utf-8")

    assert "intake" in paidan.plain("db", "migrate")
    assert "0 topics created" in paidan.plain("topics", "apply")
    assert "1 家企业" in paidan.plain("enterprise", "import", str(registry))


def test_the_model_tells_its_guess(paidan: Paidan, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"text": FIRE_REVIEW.text, "label": FIRE_REVIEW.class_code}) + "\n", encoding="utf-8")

    guess = paidan.one("model", "predict", "--data", str(texts))

    assert guess["classes"][0]["code"] == FIRE_REVIEW.class_code


def test_what_cannot_be_done_is_said_in_one_message_with_the_field_or_the_reason(paidan: Paidan) -> None:
    ticket_id = paidan.submit(FREIGHT)

    assert "enterprise.uscc" in paidan.fails("submit", "x", "--uscc", "91310115MA1H8R7C6D")
    assert "TICKET_NOT_FOUND" in paidan.fails("ticket", "show", "no-such-ticket")
    assert "STATE_CONFLICT" in paidan.fails("ticket", "rate", ticket_id, "5")
    assert "exactly one of" in paidan.fails("triage", "decide", ticket_id)
    assert "--reason nonsense is not known" in paidan.fails("unit", "return", "jtysw", ticket_id, "--reason", "nonsense")


def test_a_unit_s_inbox_is_shown_live(paidan: Paidan) -> None:
    ticket_id = paidan.submit(FREIGHT)
    paidan.dispatched(ticket_id)
    command = [Path(sys.executable).parent / "paidan", "unit", "watch", FREIGHT.lead, "--earlier", "--json"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        message = next(message for line in process.stdout or () if (message := json.loads(line))["ticketId"] == ticket_id)
        process.terminate()

    assert message["order"]["role"] == "UNIT_ROLE_LEAD"
