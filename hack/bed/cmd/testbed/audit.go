// The meter: who asked the API server for what, and how often.
//
// Comes in: the audit log (Metadata level). Goes out: requests counted by user, verb and resource, as a table or
// as JSON. A request counts once, however many stages of it are logged; a watch counts when it begins.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sort"
	"strings"
	"text/tabwriter"
	"time"
)

const auditLog = "audit.log"

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

func (b *bed) writeAuditPolicy() error {
	return replaceFile(b.path("audit-policy.yaml"), []byte(auditPolicy), 0o644)
}

// meterQuery says which requests count.
type meterQuery struct {
	user      string // part of the user's name
	namespace string
	since     time.Time
}

// meterRow is one line of the meter. dry_run stands apart because a dry run writes nothing.
type meterRow struct {
	User     string `json:"user"`
	Verb     string `json:"verb"`
	Group    string `json:"group"`
	Resource string `json:"resource"` // with its subresource, such as services/status; a path if it is no resource
	DryRun   bool   `json:"dry_run"`
	Code     int    `json:"code"`
	Count    int    `json:"count"`
}

// auditEvent is what is read of a log line.
type auditEvent struct {
	AuditID                  string
	Verb                     string
	RequestURI               string
	User                     struct{ Username string }
	RequestReceivedTimestamp time.Time
	ObjectRef                *struct{ APIGroup, Resource, Subresource, Namespace string }
	ResponseStatus           struct{ Code int }
}

func (b *bed) printAudit(query meterQuery, asJSON bool, to io.Writer) error {
	if !b.state.Audit {
		return fmt.Errorf("bed %q keeps no audit log; begin one with: %s", b.name, b.command("up --audit"))
	}
	log, err := os.Open(b.path(auditLog))
	if err != nil {
		return err
	}
	defer log.Close()
	rows, err := countRequests(log, query)
	if err != nil {
		return err
	}
	if asJSON {
		printer := json.NewEncoder(to)
		printer.SetIndent("", "  ")
		return printer.Encode(rows)
	}
	return printMeter(rows, to)
}

func countRequests(log io.Reader, query meterQuery) ([]meterRow, error) {
	requests := map[string]meterRow{} // by audit id: the last stage knows the code
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // without its line end the last event is still being written
		}
		if err != nil {
			return nil, err
		}
		var event auditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("the audit log holds a line that is no event: %w", err)
		}
		if query.wants(event) {
			requests[event.AuditID] = event.row()
		}
	}
	counts := map[meterRow]int{}
	for _, row := range requests {
		counts[row]++
	}
	rows := make([]meterRow, 0, len(counts))
	for row, count := range counts {
		row.Count = count
		rows = append(rows, row)
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].order() < rows[j].order() })
	return rows, nil
}

func (q meterQuery) wants(event auditEvent) bool {
	if q.namespace != "" && (event.ObjectRef == nil || event.ObjectRef.Namespace != q.namespace) {
		return false
	}
	return strings.Contains(event.User.Username, q.user) && !event.RequestReceivedTimestamp.Before(q.since)
}

func (e auditEvent) row() meterRow {
	row := meterRow{User: e.User.Username, Verb: e.Verb, Code: e.ResponseStatus.Code}
	path, query, _ := strings.Cut(e.RequestURI, "?")
	if values, err := url.ParseQuery(query); err == nil {
		row.DryRun = values.Get("dryRun") != ""
	}
	if e.ObjectRef == nil || e.ObjectRef.Resource == "" {
		row.Resource = path
		return row
	}
	row.Group, row.Resource = e.ObjectRef.APIGroup, e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		row.Resource += "/" + e.ObjectRef.Subresource
	}
	return row
}

func (r meterRow) order() string {
	return fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%t\x00%d", r.User, r.Resource, r.Group, r.Verb, r.DryRun, r.Code)
}

func printMeter(rows []meterRow, to io.Writer) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "USER\tVERB\tRESOURCE\tCODE\tCOUNT")
	total := 0
	for _, row := range rows {
		verb, resource := row.Verb, row.Resource
		if row.DryRun {
			verb += " (dry run)"
		}
		if row.Group != "" {
			resource += " (" + row.Group + ")"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\n", row.User, verb, resource, row.Code, row.Count)
		total += row.Count
	}
	fmt.Fprintf(table, "\t\t\t\t%d\n", total)
	return table.Flush()
}

// parseSince reads a time, or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	ago, err := time.ParseDuration(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("--since %q is neither a time (2026-01-31T12:00:00Z) nor a duration (5m)", text)
	}
	return now.Add(-ago), nil
}
