package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

const noon = "2026-01-31T12:00:00.000000Z"

func event(id, stage, user, verb, uri, ref string, code int, at string) string {
	return fmt.Sprintf(`{"kind":"Event","auditID":%q,"stage":%q,"verb":%q,"requestURI":%q,"user":{"username":%q},`+
		`"objectRef":%s,"responseStatus":{"code":%d},"requestReceivedTimestamp":%q}`+"\n", id, stage, verb, uri, user, ref, code, at)
}

func count(t *testing.T, log string, query meterQuery) []meterRow {
	t.Helper()
	rows, err := countRequests(strings.NewReader(log), query)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

const service = `{"resource":"services","namespace":"shop","apiVersion":"v1"}`

func TestARequestCountsOnceHoweverManyStagesAreLogged(t *testing.T) {
	log := event("1", "ResponseStarted", "ada", "watch", "/api/v1/services?watch=true", service, 200, noon) +
		event("1", "ResponseComplete", "ada", "watch", "/api/v1/services?watch=true", service, 200, noon)
	rows := count(t, log, meterQuery{})
	if len(rows) != 1 || rows[0].Count != 1 {
		t.Errorf("got %+v", rows)
	}
}

func TestSubresourcesAndGroupsAreNamed(t *testing.T) {
	ref := `{"resource":"releases","apiGroup":"bascule.dev","subresource":"status"}`
	rows := count(t, event("1", "ResponseComplete", "ada", "patch", "/x", ref, 200, noon), meterQuery{})
	want := meterRow{User: "ada", Verb: "patch", Group: "bascule.dev", Resource: "releases/status", Code: 200, Count: 1}
	if len(rows) != 1 || rows[0] != want {
		t.Errorf("got %+v, want %+v", rows, want)
	}
}

func TestDryRunsStandApart(t *testing.T) {
	log := event("1", "ResponseComplete", "ada", "create", "/api/v1/services?dryRun=All&fieldManager=x", service, 201, noon) +
		event("2", "ResponseComplete", "ada", "create", "/api/v1/services", service, 201, noon)
	rows := count(t, log, meterQuery{})
	if len(rows) != 2 || rows[0].DryRun || !rows[1].DryRun {
		t.Errorf("got %+v", rows)
	}
}

func TestAPathStandsForItselfWhereThereIsNoResource(t *testing.T) {
	rows := count(t, event("1", "ResponseComplete", "ada", "get", "/readyz?verbose", "null", 200, noon), meterQuery{})
	if rows[0].Resource != "/readyz" {
		t.Errorf("got %+v", rows)
	}
}

func TestTheQueryChooses(t *testing.T) {
	log := event("1", "ResponseComplete", "system:serviceaccount:bascule-system:bascule-controller", "get", "/", service, 200, "2026-01-31T11:00:00Z") +
		event("2", "ResponseComplete", "system:serviceaccount:bascule-system:bascule-controller", "get", "/", service, 200, noon) +
		event("3", "ResponseComplete", "admin", "get", "/", `{"resource":"services","namespace":"other"}`, 200, noon) +
		event("4", "ResponseComplete", "admin", "get", "/api", "null", 200, noon)
	since, err := parseSince("2026-01-31T11:30:00Z", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, each := range map[string]struct {
		query meterQuery
		want  int
	}{
		"all":       {meterQuery{}, 4},
		"user":      {meterQuery{user: "bascule-controller"}, 2},
		"since":     {meterQuery{user: "bascule-controller", since: since}, 1},
		"namespace": {meterQuery{namespace: "shop"}, 2},
	} {
		total := 0
		for _, row := range count(t, log, each.query) {
			total += row.Count
		}
		if total != each.want {
			t.Errorf("%s: %d requests, want %d", name, total, each.want)
		}
	}
}

func TestALineThatIsStillBeingWrittenIsLeftForLater(t *testing.T) {
	whole := event("1", "ResponseComplete", "ada", "get", "/", service, 200, noon)
	if rows := count(t, whole+whole[:40], meterQuery{}); len(rows) != 1 {
		t.Errorf("got %+v", rows)
	}
}

func TestSinceIsATimeOrHowLongAgo(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"5m": now.Add(-5 * time.Minute), "2026-01-31T11:00:00Z": now.Add(-time.Hour), "": {},
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if _, err := parseSince("yesterday", now); err == nil {
		t.Error("yesterday is accepted")
	}
}

func TestTheTableEndsWithTheSum(t *testing.T) {
	var out bytes.Buffer
	if err := printMeter([]meterRow{{User: "ada", Verb: "get", Resource: "pods", Count: 2}, {User: "bob", Count: 3}}, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if !strings.HasSuffix(lines[len(lines)-1], "5") {
		t.Errorf("got\n%s", out.String())
	}
}
