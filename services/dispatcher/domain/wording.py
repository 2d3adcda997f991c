"""Chinese sentences that tell people why a ticket went where it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.domain.catalogue import Level
from services.dispatcher.domain.values import DistrictSource, ReturnReason, TriageReason

if TYPE_CHECKING:
    from services.dispatcher.domain.catalogue import Catalogue, RequestClass
    from services.dispatcher.domain.values import DistrictUsed, UnitCode

_SOURCES = {
    DistrictSource.REQUEST: "按诉求所填区县",
    DistrictSource.TEXT: "按诉求正文",
    DistrictSource.ENTERPRISE: "按企业注册地",
    DistrictSource.RETURN: "按退回单位建议",
    DistrictSource.DESK: "按人工指定",
}

_LEVELS = {
    Level.DISTRICT_FIRST: "区县先办事项",
    Level.MUNICIPAL: "市级事项",
    Level.JOINT: "市级主办、区县协办事项",
}

_RETURNS = {
    ReturnReason.NOT_OUR_COMPETENCE: "非本单位职责",
    ReturnReason.WRONG_DISTRICT: "区县有误",
    ReturnReason.DUPLICATE: "重复诉求",
    ReturnReason.INSUFFICIENT_INFORMATION: "信息不足",
    ReturnReason.NOT_A_CITY_MATTER: "非本市事项",
}

_TRIAGE = {
    TriageReason.UNSURE: "把握不足",
    TriageReason.OUT_OF_SCOPE: "似不属于现有问题类别",
    TriageReason.NO_CLASSIFICATION: "分类未按时返回且关键词规则不能判定",
    TriageReason.NOT_IN_CATALOGUE: "类别或区县不在现行目录内",
}


def chosen(catalogue: Catalogue, entry: RequestClass, probability: float, lead: UnitCode, district: DistrictUsed) -> str:
    """Explain a choice by the classifier."""
    return f"识别为「{entry.name_zh}」(概率{probability:.0%}),{_placed(catalogue, entry, lead, district)}"


def chosen_by_rules(catalogue: Catalogue, entry: RequestClass, lead: UnitCode, district: DistrictUsed) -> str:
    """Explain a choice by the keyword rules."""
    return f"分类未按时返回,按关键词规则判为「{entry.name_zh}」,{_placed(catalogue, entry, lead, district)}"


def undecided(reason: TriageReason, best: float | None, threshold: float) -> str:
    """Explain why a person has to choose."""
    measured = f"(最高相关度{best:.2f},门槛{threshold:.2f})" if best is not None and reason is TriageReason.UNSURE else ""
    return f"{_TRIAGE[reason]}{measured},转人工分拨。"


def fell_back(catalogue: Catalogue, lead: UnitCode) -> str:
    """Explain that the duty desk holds a ticket."""
    return f"限时内未能定夺,先由{catalogue.unit_name(lead)}主办,等待人工分拨。"


def suggested(catalogue: Catalogue, by: UnitCode, reason: ReturnReason, lead: UnitCode) -> str:
    """Explain that a returning unit named the right one."""
    return f"{catalogue.unit_name(by)}退回({_RETURNS[reason]}),按其建议由{catalogue.unit_name(lead)}主办。"


def returned(catalogue: Catalogue, by: UnitCode, reason: ReturnReason, triage: TriageReason | None) -> str:
    """Explain that a return leads to the desk."""
    if triage is TriageReason.BOUNCED:
        return f"{catalogue.unit_name(by)}退回({_RETURNS[reason]}),退回次数已满或来回退转,由市级值班席裁定,裁定后不得退回。"
    return f"{catalogue.unit_name(by)}退回({_RETURNS[reason]}),未指明可承办单位,转人工分拨。"


def triaged(catalogue: Catalogue, lead: UnitCode, *, final: bool) -> str:
    """Explain a decision of the desk."""
    return f"人工分拨,由{catalogue.unit_name(lead)}主办{',为最终裁定' if final else ''}。"


def declined() -> str:
    """Explain that the desk declined."""
    return "人工分拨,不予受理。"


def transferred(catalogue: Catalogue, by: UnitCode, lead: UnitCode) -> str:
    """Explain a transfer."""
    return f"人工转办,由{catalogue.unit_name(by)}转至{catalogue.unit_name(lead)}主办。"


def reopened(catalogue: Catalogue, lead: UnitCode) -> str:
    """Explain a reopening."""
    return f"企业申请重办,由原办结单位{catalogue.unit_name(lead)}主办。"


def reopened_without_unit() -> str:
    """Explain a reopening whose unit is gone."""
    return "企业申请重办,原办结单位已撤销,转人工分拨。"


def _placed(catalogue: Catalogue, entry: RequestClass, lead: UnitCode, district: DistrictUsed) -> str:
    outside = f",另涉及{'、'.join(entry.outside_co_handlers)}" if entry.outside_co_handlers else ""
    return f"{_LEVELS[entry.level]},{_located(catalogue, entry, district)}由{catalogue.unit_name(lead)}主办{outside}。"


def _located(catalogue: Catalogue, entry: RequestClass, district: DistrictUsed) -> str:
    if entry.level is Level.MUNICIPAL:
        return ""
    if district.code is None:
        return "区县未能确定,"
    return f"{_SOURCES[district.source]}为{catalogue.districts[district.code].name_zh},"
