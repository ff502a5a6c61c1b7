"""Reads what is checked: rules, their tests, dashboards, pages.

In: the tree. Out: plain values. The rules are read line by line, in the one form in which they are written: no YAML library comes with
Python. Anything in another form is an error, and the number of rules is compared with promtool's.
"""

import json
import re

RULE = re.compile(r"^  - (alert|record): (\S+)$")
FIELD = re.compile(r"^    ([a-z_]+):(?: (.*))?$")
NOTE = re.compile(r"^      ([a-z_]+):(?: (.*))?$")
OUTER = re.compile(r"^(groups:|- name: \S+|  (rules|interval):.*)$")


def rules(path):
    """Each rule as {kind, name, expr, for, severity, annotations}."""
    found, into = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        rule, field, note = RULE.match(line), FIELD.match(line), NOTE.match(line)
        if rule:
            found.append({"kind": rule[1], "name": rule[2], "expr": "", "for": "0s", "severity": "", "annotations": {}})
            into = None
        elif OUTER.match(line):
            into = None
        elif field and found:
            into = None
            name, text = field[1], (field[2] or "").strip()
            if name == "expr":
                found[-1]["expr"], into = ("", "expr") if text == "|" else (text, None)
            elif name == "for":
                found[-1]["for"] = text
            elif name == "labels":
                found[-1]["severity"] = re.search(r"severity: (\w+)", text)[1]
            elif name == "annotations":
                into = "annotations"
            else:
                raise ValueError(f"{path.name}:{number}: {line}")
        elif into == "expr":
            found[-1]["expr"] += line.strip() + "\n"
        elif into == "annotations" and note:
            last = note[1]
            found[-1]["annotations"][last] = (note[2] or "").strip().removeprefix(">-").strip('"')
        elif into == "annotations" and line.startswith("        "):
            found[-1]["annotations"][last] += " " + line.strip()
        else:
            raise ValueError(f"{path.name}:{number} is in no form that is known here: {line}")
    return found


def rule_tests(paths):
    """{alert: {"fires", "quiet"}}: which kinds of test there are."""
    found = {}
    for path in paths:
        for name, answer in re.findall(r"alertname: (\w+),?\s+exp_alerts:[ \n]*(\S*)", path.read_text()):
            found.setdefault(name, set()).add("quiet" if answer.startswith("[]") else "fires")
    return found


def dashboards(folder):
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def table_of_metrics(path):
    """The rows `| `name` | type | labels | … |` of a page, as [(name, type, {labels})]."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|([^|]*)\|", path.read_text(), re.MULTILINE)
    return [(name, kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows]


def queries_of_page(path):
    """What stands in blocks that are marked promql; an empty line separates, and # begins a remark."""
    blocks = re.findall(r"^```promql\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    queries = [re.sub(r"^#.*\n", "", query, flags=re.MULTILINE).strip() for block in blocks for query in re.split(r"\n\s*\n", block)]
    return [query for query in queries if query]


def anchors(path):
    """What links into a page may end with: its headings, as GitHub and most others write them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def names_on_page(path):
    """Everything on a page that looks like a metric of ours."""
    return set(re.findall(r"`(bascule[_:][a-z0-9_:]*[a-z0-9])", path.read_text()))
