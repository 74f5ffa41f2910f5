package skew_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// answer is what a request led to.
type answer struct {
	status int
	reason string
	body   string
	header http.Header
}

func (a answer) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.status, strings.TrimSpace(a.reason+" "+a.body)))
}

// ask makes a request through the edge. The reason is that of its audit record.
func (p *platform) ask(host, path, token string) answer {
	p.t.Helper()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	a := p.get(host, "http://"+p.public+path, header)
	a.reason = p.recorded(a.header.Get(principal.RequestIDHeaderName))
	return a
}

// present makes a request to an instance, past the edge.
func (p *platform) present(s *service, path string, headers ...string) answer {
	p.t.Helper()
	header := http.Header{}
	for _, h := range headers {
		header.Add(principal.HeaderName, principal.EncodeHeader(h))
	}
	a := p.get("", "http://"+s.http+path, header)
	a.reason = a.header.Get(principal.ReasonHeaderName)
	return a
}

func (p *platform) get(host, url string, header http.Header) answer {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Host, r.Header = host, header
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{status: res.StatusCode, body: strings.TrimSpace(string(body)), header: res.Header}
}

// recorded returns the reasons in the audit record of a request.
func (p *platform) recorded(id string) string {
	p.t.Helper()
	reason := ""
	p.until("a record of "+id, func() bool {
		data, err := os.ReadFile(filepath.Join(p.dir, "audit.jsonl"))
		if err != nil {
			p.t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var record struct {
				ID         string `json:"request_id"`
				Reason     string `json:"reason"`
				Credential string `json:"credential_reason"`
				Upstream   string `json:"upstream_reason"`
			}
			if err := json.Unmarshal(line, &record); err == nil && record.ID == id {
				reason = strings.Join(strings.Fields(record.Reason+" "+record.Credential+" "+record.Upstream), ",")
				return true
			}
		}
		return false
	})
	return reason
}
