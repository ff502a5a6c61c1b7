"""Do alerts, their tests, their pages, the dashboards and the docs agree with each other and with the metrics?

In: the tree, or a scrape. Out: a line for each check, and a sentence for each mistake. hack/alerts is how it is started, and says what it can.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import contract
import promql
import sources

HERE = pathlib.Path(__file__).resolve().parent
SEVERITIES = {"critical", "warning", "info"}
HEADINGS = ["What it means", "Look", "What to do", "When to wait", "How it ends", "More"]
# How a query of a dashboard becomes one that can be asked.
VARIABLES = {
    "__rate_interval": "1m", "__interval": "1m", "__range": "1h", "environment": ".*", "namespace": ".*", "release": ".*", "datasource": "",
}


class Tree:
    """Where everything is; tests of this program hand it a tree of their own."""

    def __init__(self, root):
        self.rules = root / "charts/bascule/files/alerts.yaml"
        self.dashboards = root / "charts/bascule/files/dashboards"
        self.runbooks = root / "docs/runbooks"
        self.metrics_page = root / "docs/metrics.md"
        self.tests = root / "tests/alerts"
        self.contract = root / "tests/alerts/metrics.txt"


def filled(query, values=VARIABLES):
    return re.sub(r"\$\{?(\w+)\}?", lambda m: values.get(m[1], m[0]), query)


def recorded(rules, metrics):
    """The labels of each recorded series: those that its outermost aggregation names."""
    found = {}
    for rule in rules:
        if rule["kind"] == "record":
            inner, _ = promql.uses(rule["expr"])
            known = {}
            for use in inner:
                known |= contract.labels_of(metrics, found, use.metric) or {}
            by = re.search(r"sum by \(([^)]*)\)", rule["expr"])[1].split(", ")
            found[rule["name"]] = {label: known.get(label) for label in by}
    return found


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def board_queries(boards, values=VARIABLES):
    for name, board in boards.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", filled(target["expr"], values)


def wrong_with_query(query, metrics, known):
    found, grouped = promql.uses(query)
    if not found:
        yield "it asks for no metric"
    for use in found:
        yield from contract.wrong_with_use(metrics, known, use)
    yield from contract.wrong_with_grouping(metrics, known, found, grouped)


def check_rules(tree, rules, metrics, known):
    for rule in rules:
        for wrong in wrong_with_query(rule["expr"], metrics, known):
            yield f"{rule['name']}: {wrong}"
        if rule["kind"] == "record":
            continue
        if not rule["name"].startswith("Bascule"):
            yield f"{rule['name']}: names of alerts begin with Bascule"
        if rule["severity"] not in SEVERITIES:
            yield f"{rule['name']}: severity {rule['severity']!r} is none of {sorted(SEVERITIES)}"
        for annotation in ("summary", "description"):
            if not rule["annotations"].get(annotation):
                yield f"{rule['name']}: without {annotation}"
        if rule["annotations"].get("runbook_url") != f"RUNBOOKS/{rule['name']}.md":
            yield f"{rule['name']}: runbook_url is {rule['annotations'].get('runbook_url')!r}"
    names = [rule["name"] for rule in rules]
    yield from (f"{name}: is there twice" for name in sorted({name for name in names if names.count(name) > 1}))


def check_tests(tree, rules):
    tested = sources.rule_tests(sorted(tree.tests.glob("*.yaml")))
    alerts = {rule["name"] for rule in rules if rule["kind"] == "alert"}
    for name in sorted(alerts):
        for kind, words in (("fires", "fires"), ("quiet", "must not fire")):
            if kind not in tested.get(name, ()):
                yield f"{name}: no test in which it {words}"
    yield from (f"{name}: is tested, and there is no such alert" for name in sorted(set(tested) - alerts))


def check_runbooks(tree, rules, metrics, known):
    alerts = {rule["name"]: rule for rule in rules if rule["kind"] == "alert"}
    pages = {page.stem: page for page in tree.runbooks.glob("*.md") if page.stem != "README"}
    index = (tree.runbooks / "README.md").read_text()
    yield from (f"docs/runbooks/{name}.md: there is no such alert" for name in sorted(set(pages) - set(alerts)))
    for name, rule in sorted(alerts.items()):
        if name not in pages:
            yield f"{name}: docs/runbooks/{name}.md is missing"
            continue
        text = pages[name].read_text()
        if not text.startswith(f"# {name}\n"):
            yield f"docs/runbooks/{name}.md: does not begin with its name"
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        if headings != HEADINGS:
            yield f"docs/runbooks/{name}.md: has the parts {headings}, not {HEADINGS}"
        row = re.search(rf"^\| \[{name}\]\({name}\.md\) \| (\w+) \|", index, re.MULTILINE)
        if not row or row[1] != rule["severity"]:
            yield f"docs/runbooks/README.md: {name} is not in the table as {rule['severity']}"
    for page in [*pages.values(), tree.runbooks / "README.md"]:
        yield from check_page(page, metrics, known)


def check_page(page, metrics, known):
    """Names and queries on a page of the docs, and its links to other pages."""
    text = page.read_text()
    for name in sorted(sources.names_on_page(page)):
        if name not in metrics and contract.labels_of(metrics, known, name) is None:
            yield f"{page.name}: {name} is in no list of metrics"
    for query in sources.queries_of_page(page):
        for wrong in wrong_with_query(query, metrics, known):
            yield f"{page.name}: {query}: {wrong}"
    for link, anchor in re.findall(r"\]\(([^)#:]+)(?:#([^)]*))?\)", text):
        target = page.parent / link
        if not target.exists():
            yield f"{page.name}: links to {link}, which is not there"
        elif anchor and anchor not in sources.anchors(target):
            yield f"{page.name}: links to {link}#{anchor}, which is not there"


def check_metrics_page(tree, metrics, known):
    rows = sources.table_of_metrics(tree.metrics_page)
    for name, kind, labels in rows:
        if name not in metrics:
            yield f"metrics.md: {name} is in no list of metrics"
        elif kind != metrics[name].kind or labels != set(metrics[name].labels):
            yield f"metrics.md: {name} is a {metrics[name].kind} with {sorted(metrics[name].labels)}"
    for name in sorted(set(metrics) - {row[0] for row in rows}):
        yield f"metrics.md: {name} is missing"
    text = tree.metrics_page.read_text()
    yield from (f"metrics.md: {name} is missing" for name in sorted(known) if f"`{name}`" not in text)
    yield from check_page(tree.metrics_page, metrics, known)


def check_dashboards(boards, metrics, known):
    uids = [board["uid"] for board in boards.values()]
    if len(set(uids)) != len(uids):
        yield f"two dashboards have the same uid: {uids}"
    for name, board in boards.items():
        variables = {variable["name"] for variable in board["templating"]["list"]}
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield from wrong_with_variable(name, variable, metrics, known)
        taken, ids = {}, set()
        for panel in panels(board):
            title = f"{name}: {panel['title']}"
            if panel["id"] in ids:
                yield f"{title}: its id is another panel's too"
            ids.add(panel["id"])
            if not panel.get("description") or "unit" not in panel["fieldConfig"]["defaults"]:
                yield f"{title}: without description or unit"
            place = panel["gridPos"]
            if place["x"] + place["w"] > 24:
                yield f"{title}: is wider than the page"
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    if (other := taken.setdefault((x, y), panel["title"])) != panel["title"]:
                        yield f"{title}: lies on {other}"
                        break
            for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
                if source != {"type": "prometheus", "uid": "${datasource}"}:
                    yield f"{title}: its datasource is not ${{datasource}}"
            for target in panel["targets"]:
                for word in re.findall(r"\$\{?(\w+)", target["expr"]):
                    if word not in variables and not word.startswith("__"):
                        yield f"{title}: ${word} is no variable of this dashboard"
                for wrong in wrong_with_query(filled(target["expr"]), metrics, known):
                    yield f"{title}: {wrong}"
                # A dashboard that offers a choice keeps to it everywhere.
                for use in promql.uses(target["expr"])[0]:
                    for label in variables & set(contract.labels_of(metrics, known, use.metric) or {}):
                        if f"${label}" not in use.matchers.get(label, ("", ""))[1]:
                            yield f"{title}: {use.metric} is not limited to ${label}"


def wrong_with_variable(name, variable, metrics, known):
    match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
    if not match:
        yield f"{name}: the variable {variable['name']} is no label_values(…)"
        return
    use = promql.uses(match[1])[0][0]
    yield from (f"{name}: ${variable['name']}: {wrong}" for wrong in contract.wrong_with_use(metrics, known, use))
    if match[2] not in (contract.labels_of(metrics, known, use.metric) or {}):
        yield f"{name}: ${variable['name']}: {use.metric} has no label {match[2]}"


def promtool(*words):
    return tool("PROMTOOL", *words)


def tool(variable, *words):
    done = subprocess.run([os.environ[variable], *words], capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def check_alertmanager(page):
    """The configuration that the index of the runbooks offers."""
    block = re.search(r"^```yaml\n(route:.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    if not block:
        yield f"{page.name}: offers no configuration of Alertmanager"
        return
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(block[1])
        file.flush()
        code, text = tool("AMTOOL", "check-config", file.name)
        if code:
            yield text


def check_syntax(queries):
    """promtool reads rules, so each query becomes one."""
    with tempfile.TemporaryDirectory() as folder:
        def ask(named):
            path = pathlib.Path(folder) / "rules.yaml"
            lines = ["groups: [{name: queries, rules: ["]
            lines += [f"  {{record: 'q{i}', expr: {quoted(query)}}}," for i, (_, query) in enumerate(named)]
            path.write_text("\n".join([*lines, "]}]"]))
            return promtool("check", "rules", str(path))

        code, text = ask(queries)
        if code == 0:
            return
        for name, query in queries:
            code, text = ask([(name, query)])
            if code:
                yield f"{name}: {query}\n    {text}"


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


def everything(tree):
    """(name of the check, how much it looked at, its complaints)."""
    metrics = contract.read(tree.contract)
    rules = sources.rules(tree.rules)
    known = recorded(rules, metrics)
    boards = sources.dashboards(tree.dashboards)
    code, text = promtool("check", "rules", str(tree.rules))
    counted = re.search(r"(\d+) rules found", text)
    agreed = code == 0 and counted and int(counted[1]) == len(rules)
    yield "rules are valid", len(rules), [] if agreed else [f"{len(rules)} rules were read here; promtool says:\n{text}"]
    tests = sorted(tree.tests.glob("*.yaml"))
    code, text = promtool("test", "rules", *map(str, tests))
    yield "tests of rules pass", sum(path.read_text().count("eval_time:") for path in tests), [text] if code else []
    alerts = [rule for rule in rules if rule["kind"] == "alert"]
    yield "rules use what there is", len(rules), list(check_rules(tree, rules, metrics, known))
    yield "every alert has tests", len(alerts), list(check_tests(tree, rules))
    yield "every alert has a page", len(alerts), list(check_runbooks(tree, rules, metrics, known))
    yield "metrics.md has every metric", len(metrics), list(check_metrics_page(tree, metrics, known))
    yield "dashboards use what there is", len(boards), list(check_dashboards(boards, metrics, known))
    pages = [tree.metrics_page, *sorted(tree.runbooks.glob("*.md"))]
    queries = [*board_queries(boards), *((page.name, query) for page in pages for query in sources.queries_of_page(page))]
    yield "queries are valid", len(queries), list(check_syntax(queries))
    yield "Alertmanager takes what is offered", 1, list(check_alertmanager(tree.runbooks / "README.md"))


def used(tree):
    """Every metric that alerts, dashboards or the page name: what must really be there."""
    metrics = contract.read(tree.contract)
    queries = [rule["expr"] for rule in sources.rules(tree.rules)]
    queries += [query for _, query in board_queries(sources.dashboards(tree.dashboards))]
    names = {use.metric for query in queries for use in promql.uses(query)[0]} | {row[0] for row in sources.table_of_metrics(tree.metrics_page)}
    return {metric.name for name in names if (metric := contract.of(metrics, name))}


def compare_with_scrapes(tree, paths, excepted):
    metrics = contract.read(tree.contract)
    kinds, samples = {}, []
    for path in paths:
        more, lines = contract.scrape(pathlib.Path(path).read_text())
        kinds |= more
        samples += lines
    seen = {metric.name for name, _ in samples if (metric := contract.of(metrics, name))}
    wrong = sorted(set(contract.wrong_with_scrape(metrics, kinds, samples)))
    wrong += [f"{name} is used, and in none of the scrapes" for name in sorted(used(tree) - seen - excepted)]
    wrong += [f"{name} is in a scrape: --except is out of date" for name in sorted(excepted & seen)]
    return len(seen), wrong


def main(words):
    tree = Tree(HERE.parent.parent)
    command, words = (words[0], words[1:]) if words else ("check", [])
    if command == "queries":
        values = VARIABLES | dict(word.split("=", 1) for word in words)
        for _, query in board_queries(sources.dashboards(tree.dashboards), values):
            print(" ".join(query.split()))
        return 0
    if command == "metrics":
        excepted = {word.removeprefix("--except=") for word in words if word.startswith("--except=")}
        files = [word for word in words if not word.startswith("--")]
        results = [("metrics are as listed", *compare_with_scrapes(tree, files, excepted))]
    else:
        results = everything(tree)
    failed = 0
    for name, count, wrong in results:
        print(f"  {name:<36} {'ok' if not wrong else 'FAILED'}   {count}")
        for sentence in wrong:
            print(f"    {sentence}")
        failed += bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
