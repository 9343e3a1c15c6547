"""Reading answers exactly as the public evaluation code does, quirks included; `strict` beside it mends them."""

from __future__ import annotations

import re
from collections.abc import Collection

ENTITY_TYPES = ("药物", "设备", "医院科室", "微生物类", "身体部位", "医疗操作", "医学检验项目", "症状", "疾病")

RELATIONS = (
    "相关（导致）", "鉴别诊断", "遗传因素", "发病性别倾向", "相关（症状）", "手术治疗", "预防", "辅助检查",  # noqa: RUF001 - names
    "筛查", "阶段", "临床表现", "风险评估因素", "同义词", "发病年龄", "预后生存率", "病史", "传播途径",
    "治疗后症状", "药物治疗", "辅助治疗", "化疗", "死亡率", "放射治疗", "病因", "组织学检查", "内窥镜检查",
    "多发群体", "并发症", "实验室检查", "就诊科室", "病理生理", "高危因素", "发病率", "多发地区", "病理分型",
    "影像学检查", "转移部位", "发病部位", "相关（转化）", "外侵部位", "预后状况", "发病机制", "多发季节",  # noqa: RUF001 - names
)  # fmt: skip

RECORD_SECTIONS = ("主诉", "现病史", "既往史", "个人史", "婚育史", "家族史")

NO_LETTERS = (
    "CC", "CA", "AC", "POMES", "AI", "MIBG", "CF", "CTE", "AD", "CB", "BG", "BD", "BE", "BH", "CTB", "BI",
    "CE", "Pugh", "Child", "CTI", "CTA", "TACE", "PPD", "Castleman", "BA", "CH", "AB", "CTC", "CT", "CTH",
    "CD", "AH", "AE", "AA", "AF", "BC", "CG", "BB", "CI", "BF", "CTF", "CTG", "AG", "CTD", "分级C", "分级A",
    "I131", "分级B", "分级D", "131I\u2010MIBG", "NYHA", "IPF", "DIP", "Lambert-Eaton", "Graves", "IIA期",
    "CKD", "FDA", "A级", "B级", "C级", "D级", "维生素D",
)  # fmt: skip
"""Taken out of an answer, in this order, before what is left is read as letters: so 'AB' holds none."""

_RELATION = re.compile(
    '关系[:：]["“](' + "|".join(map(re.escape, RELATIONS)) + ')["”][,，]'  # noqa: RUF001 - marks of Chinese texts
    '头实体[:：]["“]([^"”]+)["”][,，]尾实体[:：]["“]([^"”]+)["”]'  # noqa: RUF001 - marks of Chinese texts
)
_COMMAS = re.compile("[,，]")  # noqa: RUF001 - marks of Chinese texts
_SECTION = re.compile("^(" + "|".join(RECORD_SECTIONS) + r")[:：]([\s\S]+)$")  # noqa: RUF001 - marks of Chinese texts

WIDE_COLON, WIDE_COMMA, WIDE_SEMICOLON, FULL_STOP = "\uff1a", "\uff0c", "\uff1b", "\u3002"


def letters(text: str) -> list[str]:
    """Every capital letter that is left once the fixed strings are taken out."""
    for word in NO_LETTERS:
        text = text.replace(word, "")
    return re.findall("[A-Z]", text)


def first_letter(text: str) -> str:
    """The first of A to F, or nothing."""
    return next((letter for letter in text if letter in "ABCDEF"), "")


def entities(text: str) -> list[dict[str, str]]:
    """Lines `type: mention, mention`; an empty mention counts."""
    found = []
    for kind in ENTITY_TYPES:
        for line in text.split("\n"):
            if line.startswith(kind):
                rest = line.replace(f"{kind}:", "").replace(f"{kind}{WIDE_COLON}", "")
                found += [{"type": kind, "entity": mention} for mention in _COMMAS.split(rest)]
    return found


def relations(text: str) -> list[dict[str, str]]:
    """Every relation of the known names with head and tail in quotes."""
    return [
        {"predicate": match[1], "subject": match[2], "object": match[3]}
        for line in text.split("\n")
        for match in _RELATION.finditer(line)
    ]


def events(text: str) -> list[dict[str, object]]:
    """One event for each line that names a subject."""
    found: list[dict[str, object]] = []
    for line in text.splitlines():
        if "主体词" not in line:
            continue
        fields = dict(
            part.split(WIDE_COLON, maxsplit=1)
            for part in line.rstrip(FULL_STOP).split(WIDE_SEMICOLON)
            if WIDE_COLON in part
        )
        state = fields.get("发生状态", "不确定")
        found.append(
            {
                "主体词": fields.get("主体词", ""),
                "发生状态": state if state in ("不确定", "否定") else "",
                "描述词": _listed(fields.get("描述词", "空")),
                "解剖部位": _listed(fields.get("解剖部位", "空")),
            }
        )
    return found


def _listed(text: str) -> list[str]:
    return [] if text == "空" else text.split(WIDE_COMMA)


def terms(text: str, *, known: Collection[str] | None = None) -> list[dict[str, str]]:
    """Standard terms in the last line; None: every term is taken for one."""
    words = [word.strip() for word in text.split("\n")[-1].split(WIDE_COMMA)]
    words = [word for word in dict.fromkeys(words) if word and (known is None or word in known)]
    return [{"entity": word, "type": "normalization"} for word in words]


def record(text: str) -> dict[str, str]:
    """Sections of a record: blocks parted by blank lines if there are any, else lines; `name:` begins one."""
    blocks = text.split("\n\n") if "\n\n" in text else text.splitlines()
    return {found[1]: found[2].strip() for block in blocks if (found := _SECTION.match(block.strip()))}


def cloze(text: str, gold: Collection[str]) -> bool:
    """Whether every gold string is somewhere in the answer."""
    return all(word in text for word in gold)


def yes_no(text: str) -> str:
    """'no' where a character of negation occurs anywhere, else 'yes'."""
    return "不可以" if "不" in text or "否" in text else "可以"
