package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// ErrNoRoute is returned for a request that no route takes. Answer it with
// [NotFound].
var ErrNoRoute = errors.New("proxy: no route")

// Route says which requests an entry of a [Table] takes.
type Route struct {
	// Host is the host that the client asked for, without a port. Empty means
	// any host.
	Host string
	// PathPrefix takes a path and everything below it, on whole segments: /api
	// takes /api and /api/x, not /apis. "/" takes everything.
	PathPrefix string
	// Service is the full name of an RPC service, such as orders.v1.Orders. It
	// takes /orders.v1.Orders/<method>. A route has either a PathPrefix or a
	// Service.
	Service string
}

// Target is what a request is for.
type Target struct {
	// Route is the index of the route in the list that the table was made of.
	Route int
	// Path is the decoded path that was matched and that is sent upstream.
	Path string
	// Service and Method are set if an RPC service was matched.
	Service, Method string
}

// Table finds the route of a request. It is immutable and safe for concurrent
// use.
type Table struct {
	hosts map[string]*paths
}

type paths struct {
	entries map[string]entry // by prefix, without a slash at its end
	depth   int              // segments of the longest prefix
}

type entry struct {
	index   int
	service string
}

// NewTable returns a table of routes. Two routes that would take the same
// requests are an error, so that the order of the list has no meaning.
func NewTable(routes []Route) (*Table, error) {
	t := &Table{hosts: make(map[string]*paths)}
	for i, route := range routes {
		if err := t.add(i, route); err != nil {
			return nil, fmt.Errorf("proxy: route %d: %w", i, err)
		}
	}
	return t, nil
}

func (t *Table) add(index int, route Route) error {
	host, prefix, err := route.key()
	if err != nil {
		return err
	}
	p := t.hosts[host]
	if p == nil {
		p = &paths{entries: make(map[string]entry)}
		t.hosts[host] = p
	}
	if other, taken := p.entries[prefix]; taken {
		return fmt.Errorf("takes the same requests as route %d", other.index)
	}
	p.entries[prefix] = entry{index: index, service: route.Service}
	p.depth = max(p.depth, strings.Count(prefix, "/"))
	return nil
}

var (
	serviceName = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$`)
	methodName  = regexp.MustCompile(`^[A-Za-z_]\w*$`)
)

func (r Route) key() (host, prefix string, err error) {
	host = canonicalHost(r.Host)
	if host != strings.ToLower(r.Host) || strings.ContainsAny(host, "*/@ ") {
		return "", "", fmt.Errorf("host %q is not a plain host name without a port", r.Host)
	}
	if (r.PathPrefix == "") == (r.Service == "") {
		return "", "", errors.New("needs either a path prefix or a service")
	}
	if r.Service != "" {
		if !serviceName.MatchString(r.Service) {
			return "", "", fmt.Errorf("%q is not the full name of an RPC service", r.Service)
		}
		return host, "/" + r.Service, nil
	}
	if _, err := canonicalPath(&http.Request{URL: &url.URL{Path: r.PathPrefix}}); err != nil {
		return "", "", fmt.Errorf("path prefix %q can never match: it must begin with a slash and be plain", r.PathPrefix)
	}
	return host, strings.TrimSuffix(r.PathPrefix, "/"), nil
}

// Match returns what r is for: the routes of its host go before those of any
// host, and of them the longest prefix. The error is [ErrTarget] or
// [ErrNoRoute]. Nothing but the host, the path and, for an RPC service, the
// absence of a query is looked at; headers such as X-Original-URL never are.
func (t *Table) Match(r *http.Request) (Target, error) {
	path, err := canonicalPath(r)
	if err != nil {
		return Target{}, err
	}
	if !oneHost(r) {
		return Target{}, ErrTarget
	}
	for _, host := range []string{canonicalHost(r.Host), ""} {
		if e, ok := t.hosts[host].find(path); ok {
			return e.target(r, path)
		}
	}
	return Target{}, ErrNoRoute
}

func (p *paths) find(path string) (entry, bool) {
	if p == nil {
		return entry{}, false
	}
	// A long path costs no more look-ups than the deepest prefix has segments.
	for end := segmentsEnd(path, p.depth); ; end = strings.LastIndexByte(path[:end], '/') {
		if e, ok := p.entries[path[:end]]; ok {
			return e, true
		}
		if end == 0 {
			return entry{}, false
		}
	}
}

// segmentsEnd returns where the first n segments of path end.
func segmentsEnd(path string, n int) int {
	for i := range len(path) {
		if path[i] == '/' {
			if n == 0 {
				return i
			}
			n--
		}
	}
	return len(path)
}

// target refuses, for an RPC service, what is not exactly one method: the
// request must not fall through to a wider route, whose rules may be weaker.
func (e entry) target(r *http.Request, path string) (Target, error) {
	t := Target{Route: e.index, Path: path, Service: e.service}
	if e.service == "" {
		return t, nil
	}
	t.Method = strings.TrimPrefix(path[len(e.service)+1:], "/")
	query := r.URL.RawQuery != "" || r.URL.ForceQuery
	if !methodName.MatchString(t.Method) || query && r.Method != http.MethodGet { // Connect's GET has its message there
		return Target{}, ErrTarget
	}
	return t, nil
}

// oneHost reports whether r names one host. HTTP/2 has three places for it, of
// which net/http takes :authority. The others are the header, and a :path that is
// a URL: there a proxy before the edge may have looked.
func oneHost(r *http.Request) bool {
	if r.ProtoMajor > 1 && r.URL.Host != "" {
		return false
	}
	hosts := r.Header["Host"]
	return len(hosts) == 0 || len(hosts) == 1 && hosts[0] == r.Host
}

func canonicalHost(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
