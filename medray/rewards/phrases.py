"""The words around an option label that decide what a text says about it, English and Chinese.

Each list is one string of words; "_" stands for a blank inside a phrase. Full-width forms do not
occur: the text is normalised first.
"""

from __future__ import annotations

import re

FOLLOWERS = """
    is are was were and or but because since as due if so that which would should seem seems
    appear appears look looks must can cannot can't could does doesn't isn't aren't wasn't not
    rather instead based given for from with then only here fit fits match matches
"""
"""May follow a bare letter; after another small word it is part of a phrase ("B cells")."""

NO_FOLLOWERS = "it they there the this that these because since as we i and or but is"
"""May follow the answer "no"; before any other word it is a determiner ("no difference")."""

ZH_COMPOUNDS = "型 超 细胞 反应蛋白 群 族 肝 组 级 期 类 线 淋巴 二聚体 链"
"""Follow a letter that is part of a name, such as a blood group or a B-scan."""

CLAUSE_STARTS = """
    so because since while whereas although therefore thus hence 而是 所以 因为 因此 但
"""

REJECT_BEFORE = """
    not never neither nor cannot exclude excludes excluding excluded except eliminate
    eliminates eliminated eliminating reject rejects rejected rejecting dismiss dismissing
    unlike rather_than instead_of rule_out rules_out ruled_out ruling_out all_but
"""
REJECT_BEFORE_FILLERS = """
    be think believe say sure choose pick select it it's is that the answer option choice
    letter to correct right
"""
ZH_REJECT_BEFORE = """
    不是 不选 不能选 不应 不应选 不该选 别选 不可能是 不会是 并非 而非 非 排除 除了 除 不包括
    否定
"""
ZH_REJECT_BEFORE_FILLERS = "掉 了 选项 答案"

COPULAS = "is are was were seem seems look looks would_be can_be could_be should_be must_be"
ADVERBS = "both all also clearly definitely obviously therefore simply"
WRONG = "incorrect wrong false unlikely excluded ruled_out eliminated dismissed rejected out"
DENIED = """
    is_not are_not was_not were_not would_not could_not should_not can_not do_not does_not
    is_never isn't aren't wasn't weren't cannot can't couldn't doesn't don't
"""
ZH_ADVERBS = "都 均 是 也 可以 可 应 则 为 被"
ZH_WRONG = "错 不对 不正确 不是 不符 不选 排除 有误 不成立"

LEADS = """
    so thus hence therefore then and but it is it's its that this be are must should would
    will option options choice choices letter letters answer answers i i'd i'll we think
    believe guess say choose pick select go going with the correct right final best only
    probably likely most definitely clearly my both either actually wait no sorry rather mean
    correction to conclude also remaining one assistant response 所以 因此 故 可知 综上
    综上所述 本题 此题 题目 应该 应当 应 可以 就 即 则 那么 我 认为 觉得 会 要 是 为 选择 选项
    选 项 答案 正确 最佳 最终 标准 参考 的 了 于是 只有 仅 只 都 同时 其中 不 对
"""
"""Connect to an answer without adding to it: a label after nothing but these stands alone."""

TAILS = """
    is are was the most only both all correct right best answer answers option options choice
    choices one ones true appropriate accurate likely diagnosis here instead then rather 选项
    项 都 均 是 为 正确 对 的 答案 符合 题意 吧 了 最佳 最
"""

CLAIM_NOUNS = "answer answers correct right best final"
CLAIM_COPULAS = "is are was be would_be should_be must_be will_be"
CLAIM_FILLERS = """
    most_likely likely probably therefore thus clearly definitely indeed still actually option
    options choice choices letter letters the both 选项 选
"""
CLAIM_VERBS = "choose chose select selected pick picked say go_with going_with"
CORRECTIONS = "actually wait correction sorry i_mean"
ZH_CLAIM_NOUNS = "答案 正确选项 正确的选项 正确的 结论"
ZH_CLAIM_ADVERBS = "应该 应当 应 就 只能 可能 也"
RIGHT = "correct right best true appropriate answer answers"
RIGHT_ADVERBS = "both all the most only clearly therefore also likely"


def any_of(words: str) -> str:
    """A regular expression for one of `words`: the longest that fits, Latin words whole.

    The group is atomic: what has matched is never matched again in another way, so repeating it
    stays linear in the text whatever a policy repeats.
    """
    ordered = sorted(set(words.split()), key=len, reverse=True)
    return "(?>" + "|".join(_pattern(word) for word in ordered) + ")"


def _pattern(word: str) -> str:
    body = r"\s+".join(re.escape(part) for part in word.split("_"))
    return rf"(?<![A-Za-z0-9]){body}(?![A-Za-z0-9])" if word.isascii() else body
