package main

import (
	"os"
	"strings"
	"testing"
)

// release is one as the API server shows it, with conditions of these statuses and reasons.
func release(generation, observed string, conditions ...string) string {
	var list []string
	for _, each := range conditions {
		part := strings.SplitN(each, " ", 3)
		list = append(list, `{"type":"`+part[0]+`","status":"`+part[1]+`","reason":"`+part[2]+`","message":"the words"}`)
	}
	return `{"apiVersion":"bascule.dev/v1alpha1","kind":"Release","metadata":{"name":"web","namespace":"shop","generation":` + generation +
		`},"status":{"observedGeneration":` + observed + `,"conditions":[` + strings.Join(list, ",") + `]}}`
}

func said(t *testing.T, objects string) []string {
	t.Helper()
	script, err := os.ReadFile("../../../../docs/gitops/argo-cd-health.lua")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := say(strings.NewReader(objects), &out, string(script)); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(out.String()), "\n")
}

func TestEveryPhaseHasItsWords(t *testing.T) {
	const reconciling, stalled, idle = "Reconciling True x", "Stalled True x", "Reconciling False Idle"
	for name, each := range map[string]struct{ object, kstatus, argo, message string }{
		"not seen yet":      {release("1", "-1"), "InProgress", "Progressing", "the controller has not seen this version of the spec yet"},
		"seen before":       {release("2", "1", "Ready True Settled"), "InProgress", "Progressing", "the controller has not seen this version of the spec yet"},
		"on its way":        {release("1", "1", "Ready False Progressing", reconciling), "InProgress", "Progressing", "Progressing: the words"},
		"settled":           {release("1", "1", "Ready True Settled", idle, "Available True AllPodsReady", "SourcesFresh True Fresh"), "Current", "Healthy", "the words"},
		"settled, no pods":  {release("1", "1", "Ready True Settled", idle, "Available False PodsMissing"), "Current", "Progressing", "the words; the words"},
		"settled, stale":    {release("1", "1", "Ready True Settled", idle, "SourcesFresh False Throttled"), "Current", "Healthy", "the words; the words"},
		"rejected":          {release("1", "1", "Ready False Rejected", idle, stalled), "Failed", "Degraded", "Rejected: the words"},
		"rolled back":       {release("1", "1", "Ready False RolledBack", idle, stalled), "Failed", "Suspended", "RolledBack: the words"},
		"held":              {release("1", "1", "Ready False Held", idle), "InProgress", "Suspended", "Held: the words"},
		"suspended":         {release("1", "1", "Ready False Suspended", idle), "InProgress", "Suspended", "Suspended: the words"},
		"bad, and no way":   {release("1", "1", "Ready False WayBackNotAvailable", reconciling), "InProgress", "Degraded", "WayBackNotAvailable: the words"},
		"bad, nobody moves": {release("1", "1", "Ready False BakeFailing", reconciling), "InProgress", "Degraded", "BakeFailing: the words"},
	} {
		want := `"kstatus":{"status":"` + each.kstatus + `"`
		wantArgo := `"argo":{"status":"` + each.argo + `","message":"` + each.message + `"},"argoWithout":null`
		got := said(t, each.object)[0]
		if !strings.Contains(got, want) || !strings.Contains(got, wantArgo) {
			t.Errorf("%s: %s\n  wanted %s and %s", name, got, want, wantArgo)
		}
	}
}

func TestWithoutAnyStatusKstatusTakesItForDone(t *testing.T) {
	object := `{"apiVersion":"bascule.dev/v1alpha1","kind":"Release","metadata":{"name":"web","generation":1}}`
	// Why the CRD has a default for the status.
	if got := said(t, object)[0]; !strings.Contains(got, `"kstatus":{"status":"Current"`) {
		t.Error(got)
	}
}

func TestObjectsComeOneByOneInAnArrayOrInAList(t *testing.T) {
	one := release("1", "1", "Ready True Settled")
	for _, several := range []string{one + one, "[" + one + "," + one + "]", `{"kind":"List","apiVersion":"v1","items":[` + one + "," + one + "]}"} {
		if got := said(t, several); len(got) != 2 {
			t.Errorf("%d lines: %v", len(got), got)
		}
	}
}

func TestWhatIsBeingDeletedIsNotAsked(t *testing.T) {
	object := strings.Replace(release("1", "1", "Ready True Settled"), `"name"`, `"deletionTimestamp":"2026-01-01T00:00:00Z","name"`, 1)
	got := said(t, object)[0]
	if !strings.Contains(got, `"kstatus":{"status":"Terminating"`) || !strings.Contains(got, `"argo":{"status":"Progressing","message":"Pending deletion"}`) {
		t.Error(got)
	}
}

func TestAScriptThatIsWrongIsUnknown(t *testing.T) {
	for script, want := range map[string]string{
		`return {status = "Fine"}`: "Lua returned an invalid health status",
		`return "Healthy"`:         "expect table output from Lua script, not string",
		`return string.upper("x")`: "attempt to index a non-table object(nil) with key 'upper'",
		`while true do end`:        "context deadline exceeded",
	} {
		var out strings.Builder
		if err := say(strings.NewReader(release("1", "1")), &out, script); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.Contains(got, `"argo":{"status":"Unknown"`) || !strings.Contains(got, want) {
			t.Errorf("%s: %s", script, got)
		}
	}
}
