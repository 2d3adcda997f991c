"""What enterprises ask in tests: texts that the classifier and the keyword rules agree on, each with where it belongs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from paidan.intake.v1 import intake_service_pb2 as pb
from paidan.intake.v1 import ticket_pb2

USCC = "91500107MA5U00A07M"
ENTERPRISE = "重庆渝西传动机械有限公司"
CONTACT = "欧阳测试员"
PHONE = "023-61234567"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Matter:
    """A matter that nobody doubts: its text, the district that the request names, and the unit that leads by the catalogue."""

    text: str
    district: str
    lead: str
    class_code: str


FIRE_REVIEW = Matter("厂房消防验收一直没通过，消防设计审查意见看不懂", "500116", "500116", "fire_review")
CUSTOMS = Matter("报关单申报后通关查验一直没放行，海关那边怎么联系", "", "hg", "customs_clearance")
CREDIT = Matter("公司被列入经营异常名录，地址已经变更过来了，怎么移出信用修复", "500102", "scjgj", "credit_repair")
PLANNING = Matter("2000平方米老厂房想加建一层做装配线，规划许可要先办哪一步", "500107", "500107", "planning_permit")
POWER = Matter("增容到2000千伏安的申请，供电方案批了，外线工程迟迟不进场，设备下月到", "500118", "jjxxw", "power_supply")
LOAN = Matter("合作社想贷五十万买饲料，没得房产抵押，有没得担保或者信用贷", "500229", "jrb", "loan_financing")
WATER = Matter("园区水压白天只有0.1兆帕，清洗工段开不了，水务公司说管网老化，没有下文", "500106", "500106", "water_drainage")
FREIGHT = Matter("送货的4.2米厢货进内环老是被拍，通行证在哪点办", "500107", "jtysw", "freight_transport")

MATTERS = (FIRE_REVIEW, CUSTOMS, CREDIT, PLANNING, POWER, LOAN, WATER, FREIGHT)


def unique(text: str) -> str:
    """Return a text that was never sent before."""
    return f"{text}（来信{next(_numbers)}号）"


def submission(text: str, request_id: str, *, district: str = "500107", confidential: bool = False) -> pb.SubmitTicketRequest:
    """Return a request to submit."""
    return pb.SubmitTicketRequest(
        request_id=request_id,
        enterprise=ticket_pb2.Enterprise(uscc=USCC, name=ENTERPRISE),
        contact=ticket_pb2.Contact(name=CONTACT, phone=PHONE),
        text=text,
        channel=ticket_pb2.CHANNEL_WEB,
        district_code=district,
        confidential=confidential,
    )
