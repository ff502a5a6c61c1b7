"""The list of metrics (metrics.txt), and what is wrong with a use of one.

In: the list; a selector of a query; the text of a scrape. Out: sentences about what does not agree, none if all is well.
"""

import re

SUFFIXES = ("_bucket", "_sum", "_count")
# What a scrape or Prometheus adds.
ADDED = {"instance", "job", "pod", "le", "alertname", "alertstate", "severity"}
# What Prometheus makes itself.
BUILT_IN = {"ALERTS": {"alertname", "alertstate", "severity"}}


class Metric:
    def __init__(self, name, kind, labels):
        self.name, self.kind, self.labels = name, kind, labels


def read(path):
    """{name: Metric}; labels are {name: set of values, or None where any may be}."""
    metrics = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        labels = {}
        for word in words[2:]:
            label, _, values = word.partition("=")
            labels[label] = set(values.split("|")) if values else None
        assert words[1] in ("counter", "gauge", "histogram"), line
        assert words[0] not in metrics, f"{words[0]} is there twice"
        metrics[words[0]] = Metric(words[0], words[1], labels)
    return metrics


def of(metrics, name):
    """The metric that a series of this name belongs to."""
    if name in metrics:
        return metrics[name]
    for suffix in SUFFIXES:
        whole = name.removesuffix(suffix)
        if whole != name and whole in metrics and metrics[whole].kind == "histogram":
            return metrics[whole]
    return None


def labels_of(metrics, recorded, name):
    """The labels that a series of this name may have; None when there is no such series."""
    if name in BUILT_IN:
        return {label: None for label in BUILT_IN[name]}
    if name in recorded:
        return recorded[name]
    metric = of(metrics, name)
    if metric is None or (name == metric.name and metric.kind == "histogram"):
        return None
    return metric.labels


def wrong_with_use(metrics, recorded, use):
    labels = labels_of(metrics, recorded, use.metric)
    if labels is None:
        yield f"{use.metric} is in no list of metrics"
        return
    for label, (sign, text) in use.matchers.items():
        if label not in labels and label not in ADDED:
            yield f"{use.metric} has no label {label}"
            continue
        values = labels.get(label)
        if values is None or "$" in text:
            continue
        for word in text.split("|") if "~" in sign else [text]:
            if word not in values:
                yield f"{use.metric}: {label} is never {word!r}"


def wrong_with_grouping(metrics, recorded, found, grouped):
    """Labels to group by that no metric of the query has."""
    known = set(ADDED)
    for use in found:
        known |= set(labels_of(metrics, recorded, use.metric) or {})
    for label in sorted(grouped - known):
        yield f"nothing in it has a label {label}"


SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ")
PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:\\.|[^"\\])*)"')


def scrape(text):
    """{family: kind} and [(series name, {label: value})] of the text format."""
    kinds, samples = {}, []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            kinds[name] = kind
        elif line and not line.startswith("#"):
            match = SAMPLE.match(line)
            if match:
                samples.append((match.group(1), dict(PAIR.findall(match.group(2) or ""))))
    return kinds, samples


def wrong_with_scrape(metrics, kinds, samples):
    for name, kind in sorted(kinds.items()):
        if name not in metrics:
            if name.startswith("bascule_"):
                yield f"{name} ({kind}) is in no list of metrics"
        elif metrics[name].kind != kind:
            yield f"{name} is a {kind}, not a {metrics[name].kind}"
    for name, labels in samples:
        metric = of(metrics, name)
        if metric is None:
            continue
        names = set(labels) - ({"le"} if metric.kind == "histogram" else set())
        if names != set(metric.labels):
            yield f"{name} has the labels {sorted(names)}, not {sorted(metric.labels)}"
            continue
        for label, value in labels.items():
            values = metric.labels.get(label)
            if values is not None and value not in values:
                yield f"{name}: {label} is {value!r}, which is in no list"
