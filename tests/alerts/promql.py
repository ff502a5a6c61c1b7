"""What a query names: its metrics, with the matchers beside each, and the labels that it groups by.

In: PromQL that promtool has accepted. Out: names. Whether they are right is asked elsewhere.
"""

import re

AGGREGATORS = {
    "sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk", "quantile",
}
KEYWORDS = {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start", "end"}
WITH_LABELS = {"by", "without", "on", "ignoring", "group_left", "group_right"}

TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
    | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    | (?P<range>\[[^\]]*\])
    | (?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:ms|[smhdwy])?)
    | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<match>=~|!~|!=|==|>=|<=|=)
    | (?P<sign>.)""",
    re.VERBOSE,
)


class Use:
    """One selector: a metric and its matchers, as {label: (sign, text)}."""

    def __init__(self, metric, matchers):
        self.metric, self.matchers = metric, matchers


def uses(query):
    """Every selector of a query, and the set of labels after by, on and the like."""
    tokens = [(m.lastgroup, m.group()) for m in TOKEN.finditer(query) if m.lastgroup != "skip"]
    found, grouped, i = [], set(), 0
    while i < len(tokens):
        kind, text = tokens[i]
        after = tokens[i + 1][1] if i + 1 < len(tokens) else ""
        i += 1
        if kind != "name" or text in KEYWORDS:
            continue
        if text in WITH_LABELS:
            if after == "(":
                end = i + [t for _, t in tokens[i:]].index(")")
                grouped |= {t for k, t in tokens[i:end] if k == "name"}
                i = end + 1
            continue
        if after == "(" or (text in AGGREGATORS and after in WITH_LABELS):
            continue
        matchers = {}
        if after == "{":
            end = i + [t for _, t in tokens[i:]].index("}")
            inside = [t for t in tokens[i + 1 : end] if t[1] != ","]
            for label, sign, value in zip(*[iter(inside)] * 3):
                matchers[label[1]] = (sign[1], value[1][1:-1])
            i = end + 1
        found.append(Use(text, matchers))
    return found, grouped
