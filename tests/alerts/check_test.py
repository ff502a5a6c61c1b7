"""The checks find each mistake: a copy of the tree, one thing broken in it, and the sentence that must come of it."""

import json
import pathlib
import re
import shutil
import tempfile
import unittest

import check
import contract
import promql
import sources

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPIED = ["charts/bascule/files", "docs", "tests/alerts"]


class Copy(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for path in COPIED:
            shutil.copytree(ROOT / path, self.root / path)
        # The pages link to it.
        shutil.copy(ROOT / "charts/bascule/README.md", self.root / "charts/bascule/README.md")
        self.tree = check.Tree(self.root)

    def change(self, path, pattern, text, count=1):
        file = self.root / path
        before = file.read_text()
        after = re.sub(pattern, text, before, count=count, flags=re.MULTILINE)
        self.assertNotEqual(before, after, f"{pattern} is not in {path}")
        file.write_text(after)

    def complaints(self):
        metrics = contract.read(self.tree.contract)
        rules = sources.rules(self.tree.rules)
        known = check.recorded(rules, metrics)
        boards = sources.dashboards(self.tree.dashboards)
        return [
            *check.check_rules(self.tree, rules, metrics, known),
            *check.check_tests(self.tree, rules),
            *check.check_runbooks(self.tree, rules, metrics, known),
            *check.check_metrics_page(self.tree, metrics, known),
            *check.check_dashboards(boards, metrics, known),
        ]

    def finds(self, words):
        complaints = self.complaints()
        self.assertTrue(any(words in complaint for complaint in complaints), f"{words!r} is not in {complaints}")


ALERTS = "charts/bascule/files/alerts.yaml"
FLEET = "charts/bascule/files/dashboards/fleet.json"


class Rules(Copy):
    def test_as_it_is_there_is_nothing_to_complain_about(self):
        self.assertEqual(self.complaints(), [])

    def test_a_metric_that_there_is_not(self):
        self.change(ALERTS, r"absent\(bascule_build_info\)", "absent(bascule_build)")
        self.finds("BasculeControllerDown: bascule_build is in no list")

    def test_a_histogram_without_its_suffix(self):
        self.change(ALERTS, r"absent\(bascule_build_info\)", "absent(bascule_lead_time_seconds)")
        self.finds("bascule_lead_time_seconds is in no list")

    def test_a_label_that_it_has_not(self):
        self.change(ALERTS, r"min by \(kind\)", "min by (sort)")
        self.finds("BasculeWatchDead: nothing in it has a label sort")

    def test_a_matcher_on_a_label_that_it_has_not(self):
        self.change(ALERTS, r'\{traffic="never"', '{had_traffic="false"')
        self.finds("has no label had_traffic")

    def test_a_value_that_never_comes(self):
        self.change(ALERTS, r'state=~"Stalled\|Unreadable"', 'state=~"Stalled|Unread"')
        self.finds("state is never 'Unread'")

    def test_a_severity_that_nobody_routes(self):
        self.change(ALERTS, r"labels: \{severity: critical\}", "labels: {severity: urgent}")
        self.finds("severity 'urgent'")

    def test_an_alert_without_description(self):
        self.change(ALERTS, r"^      description: >-\n        Nobody is scraped.*\n", "")
        self.finds("BasculeControllerDown: without description")

    def test_a_link_to_another_alerts_page(self):
        self.change(ALERTS, r"RUNBOOKS/BasculeNoLeader.md", "RUNBOOKS/BasculeControllerDown.md")
        self.finds("BasculeNoLeader: runbook_url")

    def test_a_rule_in_another_form_is_not_passed_over(self):
        self.change(ALERTS, r"^    for: 5m", "    for:\n      5m")
        with self.assertRaises(ValueError):
            self.complaints()


class Tests(Copy):
    def test_an_alert_that_no_test_lets_fire(self):
        self.change("tests/alerts/controller.yaml", r"alertname: BasculeWatchDead\n    exp_alerts:", "alertname: BasculeOther\n    exp_alerts:", count=0)
        self.finds("BasculeWatchDead: no test in which it fires")
        self.finds("BasculeOther: is tested, and there is no such alert")

    def test_an_alert_that_no_test_keeps_quiet(self):
        self.change("tests/alerts/controller.yaml", r".*alertname: BasculeWatchDead, exp_alerts: \[\]\}\n", "", count=0)
        self.finds("BasculeWatchDead: no test in which it must not fire")


class Pages(Copy):
    def test_an_alert_without_a_page(self):
        (self.root / "docs/runbooks/BasculeNoLeader.md").unlink()
        self.finds("docs/runbooks/BasculeNoLeader.md is missing")

    def test_a_page_without_an_alert(self):
        shutil.copy(self.root / "docs/runbooks/BasculeNoLeader.md", self.root / "docs/runbooks/BasculeGone.md")
        self.finds("docs/runbooks/BasculeGone.md: there is no such alert")

    def test_a_page_that_lacks_a_part(self):
        self.change("docs/runbooks/BasculeNoLeader.md", r"^## When to wait$", "## Perhaps")
        self.finds("has the parts")

    def test_a_table_with_another_severity(self):
        self.change("docs/runbooks/README.md", r"(BasculeNoLeader\.md\) \|) critical", r"\1 warning")
        self.finds("BasculeNoLeader is not in the table as critical")

    def test_links_that_lead_nowhere(self):
        self.change("docs/runbooks/BasculeNoLeader.md", r"troubleshooting\.md#several-replicas", "troubleshooting.md#many-replicas")
        self.change("docs/runbooks/BasculeWatchDead.md", r"\.\./troubleshooting\.md", "../trouble.md")
        self.finds("links to ../troubleshooting.md#many-replicas")
        self.finds("links to ../trouble.md")

    def test_a_metric_that_the_page_of_metrics_has_forgotten(self):
        self.change("docs/metrics.md", r"^\| `bascule_build_info`.*\n", "")
        self.finds("metrics.md: bascule_build_info is missing")

    def test_a_metric_with_another_label_on_the_page(self):
        self.change("docs/metrics.md", r"(`bascule_watch_healthy` \| gauge \|) `kind`", r"\1 `type`")
        self.finds("metrics.md: bascule_watch_healthy is a gauge with ['kind']")

    def test_a_name_of_old_in_a_runbook(self):
        self.change("docs/runbooks/BasculeNoLeader.md", r"HOLDER is empty", "`bascule_lead` is 0, HOLDER is empty")
        self.finds("bascule_lead is in no list")

    def test_a_query_on_a_page(self):
        self.change("docs/metrics.md", r'outcome="Settled"\}\[7d:1h\]', 'outcome="Done"}[7d:1h]')
        self.finds("outcome is never 'Done'")


class Dashboards(Copy):
    def edit(self, change):
        board = json.loads((self.root / FLEET).read_text())
        change(board)
        (self.root / FLEET).write_text(json.dumps(board))

    def test_a_panel_on_another(self):
        self.edit(lambda board: board["panels"][1]["gridPos"].update(x=0))
        self.finds("fleet: Not ready: lies on Releases")

    def test_two_panels_of_one_id(self):
        self.edit(lambda board: board["panels"][1].update(id=1))
        self.finds("its id is another panel's too")

    def test_a_panel_that_does_not_say_what_it_is(self):
        self.edit(lambda board: board["panels"][0].update(description=""))
        self.finds("fleet: Releases: without description")

    def test_a_source_of_somebodys_own_grafana(self):
        self.edit(lambda board: board["panels"][0]["datasource"].update(uid="P1809F7CD0C75ACF3"))
        self.finds("its datasource is not")

    def test_a_query_that_does_not_keep_to_the_choice(self):
        self.edit(lambda board: board["panels"][0]["targets"][0].update(expr="count(bascule_release_state)"))
        self.finds("bascule_release_state is not limited to $namespace")

    def test_a_variable_that_there_is_not(self):
        expression = 'count(bascule_release_state{environment=~"$environment",namespace=~"$namespace",release=~"$release"})'
        self.edit(lambda board: board["panels"][0]["targets"][0].update(expr=expression))
        self.finds("$release is no variable of this dashboard")

    def test_a_variable_of_a_label_that_there_is_not(self):
        self.edit(lambda board: board["templating"]["list"][1]["query"].update(query="label_values(bascule_release_state, env)"))
        self.finds("bascule_release_state has no label env")


class Syntax(unittest.TestCase):
    def test_promtool_names_the_query_that_it_does_not_take(self):
        found = list(check.check_syntax([("good", "sum(up)"), ("bad", "sum(up")]))
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].startswith("bad: "), found)

    def test_what_a_query_names(self):
        found, grouped = promql.uses(
            'sum by (a, b) (rate(x_total{c=~"d|e", f!="{g}"}[5m])) / on (a) group_left (h) max_over_time(y[1h:5m] offset 1d) > bool 1e3 or vector(0)'
        )
        self.assertEqual([(use.metric, use.matchers) for use in found], [("x_total", {"c": ("=~", "d|e"), "f": ("!=", "{g}")}), ("y", {})])
        self.assertEqual(grouped, {"a", "b", "h"})


class Scrapes(Copy):
    TEXT = (
        "# HELP bascule_is_leader 1 in the one replica that writes\n# TYPE bascule_is_leader gauge\nbascule_is_leader 1\n"
        '# TYPE bascule_watch_healthy gauge\nbascule_watch_healthy{kind="Service"} 1\n'
        '# TYPE bascule_queue_wait_seconds histogram\nbascule_queue_wait_seconds_bucket{lane="spec",le="+Inf"} 1\n'
    )

    def compared(self, text, excepted=()):
        path = self.root / "scrape.txt"
        path.write_text(text)
        return check.compare_with_scrapes(self.tree, [path], set(excepted))[1]

    def test_what_is_used_and_not_there(self):
        wrong = self.compared(self.TEXT)
        self.assertIn("bascule_build_info is used, and in none of the scrapes", wrong)
        self.assertFalse([sentence for sentence in wrong if "bascule_is_leader" in sentence or "queue_wait" in sentence])

    def test_what_cannot_be_there_is_named_and_must_stay_away(self):
        self.assertNotIn("bascule_build_info is used, and in none of the scrapes", self.compared(self.TEXT, {"bascule_build_info"}))
        self.assertIn("bascule_is_leader is in a scrape: --except is out of date", self.compared(self.TEXT, {"bascule_is_leader"}))

    def test_another_type_other_labels_other_values_other_names(self):
        for before, after, words in [
            ("bascule_is_leader gauge", "bascule_is_leader counter", "bascule_is_leader is a counter, not a gauge"),
            ('kind="Service"', 'sort="Service"', "bascule_watch_healthy has the labels ['sort'], not ['kind']"),
            ('lane="spec"', 'lane="fast"', "bascule_queue_wait_seconds_bucket: lane is 'fast', which is in no list"),
            ("# TYPE bascule_watch_healthy", "# TYPE bascule_watch_well", "bascule_watch_well (gauge) is in no list of metrics"),
        ]:
            self.assertIn(words, self.compared(self.TEXT.replace(before, after)))


if __name__ == "__main__":
    unittest.main()
