package observed

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

// line is what is read of a line: of a service's decision, or of the edge's
// record of a request. An edge's has a Route.
type line struct {
	Time             time.Time `json:"time"`
	Msg              string    `json:"msg"`
	Message          string    `json:"message"` // where msg has another name
	Service          string    `json:"service"`
	Method           string    `json:"method"` // of an edge's record, that of HTTP
	Decision         string    `json:"decision"`
	Reason           string    `json:"reason"`
	Rule             string    `json:"rule"`
	Peer             string    `json:"peer"`
	Certificate      string    `json:"certificate"`
	Address          string    `json:"address"`
	UserAgent        string    `json:"user_agent"`
	RequestID        string    `json:"request_id"`
	Renewal          bool      `json:"renewal"`
	Principal        subject   `json:"principal"`
	Client           string    `json:"client"`
	Route            string    `json:"route"`
	CredentialIssuer string    `json:"credential_issuer"`
	CredentialReason string    `json:"credential_reason"`
	Omitted          int64     `json:"omitted"`
}

// subject is the principal of a line; the zero value if it has none.
type subject struct {
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`
	Subject string   `json:"subject"`
	Issuer  string   `json:"issuer"`
	Path    []string `json:"path"`
	Scopes  []string `json:"scopes"`
}

// UnmarshalJSON implements [json.Unmarshaler]: a line without a principal says
// "anonymous".
func (s *subject) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*s = subject{}
		return nil
	}
	type plain subject
	return json.Unmarshal(data, (*plain)(s))
}

// kind is what a line turned out to be.
type kind int

const (
	other    kind = iota // of something else
	corrupt              // begins as JSON, and is none, or not ours although it says so
	decision             // of a service or an edge
)

// before is what container runtimes put in front of a line: of CRI, and of kubectl
// logs --prefix. Nothing else is skipped, as a line of a program could quote what
// a caller has sent.
var before = regexp.MustCompile(`^(?:\S{1,64} std(?:out|err) [FP] |\[pod/[^\]\s]{1,200}\] )`)

// parse reads a line.
func parse(data []byte) (line, kind) {
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] != '{' {
		data = data[len(before.Find(data)):]
	}
	if len(data) == 0 || data[0] != '{' {
		return parseText(data)
	}
	var l line
	if !bytes.Contains(data, []byte(`"decision"`)) {
		if !json.Valid(data) {
			return line{}, corrupt
		}
		return line{}, other
	}
	err := json.Unmarshal(data, &l)
	switch name := l.Msg + l.Message; {
	case name != "principal" && name != "request":
		if err != nil && !json.Valid(data) {
			return line{}, corrupt
		}
		return line{}, other
	case err != nil || !l.complete(name):
		return line{}, corrupt
	case name == "request" && l.Route == "": // refused before it was clear where it goes
		return line{}, other
	}
	return l, decision
}

// complete reports whether a line of ours says what it has to.
func (l *line) complete(name string) bool {
	switch l.Decision {
	case "allowed", "refused", "would_refuse", "ended":
	default:
		return false
	}
	if name == "request" {
		l.Service, l.Method = "", ""
		return l.Omitted >= 0
	}
	l.Route = ""
	return l.Method != ""
}

// edge reports whether the line is of an edge.
func (l *line) edge() bool { return l.Route != "" }

// keys are what a service and the edge both say of a request.
func (l *line) keys() []string {
	var keys []string
	if l.RequestID != "" {
		keys = append(keys, "request "+l.RequestID)
	}
	if l.Principal.ID != "" {
		keys = append(keys, "principal "+l.Principal.ID)
	}
	return keys
}

// caller says who handed the call over, as well as it is known.
func (l *line) caller() Caller {
	c := Caller{Kind: l.Principal.Kind, Proof: "certificate"}
	switch path := l.Principal.Path; {
	case l.edge():
		return Caller{Name: "clients"}
	case l.Peer != "":
		c.Name = l.Peer
	case l.Certificate != "":
		c.Name = l.Certificate
	case len(path) > 0:
		c.Name, c.Proof = path[len(path)-1], "claimed"
	case l.Principal.ID != "": // relayed, by whomever
		c.Name, c.Proof = l.Principal.Issuer, "claimed"
	default:
		c.Name, c.Proof = cmp.Or(l.Address, "somebody"), ""
		if l.UserAgent != "" {
			c.Name += " " + l.UserAgent
		}
	}
	return c
}

// clip bounds what is remembered of a line.
func (l *line) clip() {
	for _, s := range []*string{
		&l.Service, &l.Method, &l.Reason, &l.Peer, &l.Certificate, &l.Address, &l.UserAgent, &l.RequestID, &l.Client, &l.Route,
		&l.CredentialIssuer, &l.CredentialReason, &l.Principal.ID, &l.Principal.Kind, &l.Principal.Subject, &l.Principal.Issuer,
	} {
		*s = short(*s)
	}
	for i, p := range l.Principal.Path {
		l.Principal.Path[i] = short(p)
	}
}

// short returns a text that keeps no long one alive.
func short(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.Clone(s[:maxText])
}
