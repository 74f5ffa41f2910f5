package peers_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/examples/provider"
	"github.com/onbehalf-dev/onbehalf/examples/shop/stack"
)

const (
	orders = "shop.orders.v1.OrderService/"
	ledger = "shop.ledger.v1.LedgerService/"
	basket = `{"item": {"sku": "apple", "quantity": 1}} {"item": {"sku": "apple", "quantity": 2}}`
	quote  = `{"items": [{"sku": "apple", "quantity": 2}]}`
)

// shop starts the example.
func shop(t *testing.T) *stack.Stack {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := stack.Start(t.Context(), stack.Options{Dir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func authorization(t *testing.T, s *stack.Stack, r provider.TokenRequest) string {
	t.Helper()
	token, err := s.Provider.Token(r)
	if err != nil {
		t.Fatal(err)
	}
	return "authorization: Bearer " + token
}

// tool builds a tool of another module, and returns where it lies.
func tool(t *testing.T, module, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile="+module, "-n", name)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(name, err)
	}
	return strings.TrimSpace(string(out))
}

// call is one of a command line client, and what is to be in its output.
type call struct {
	name  string
	args  []string
	input string
	fails bool
	want  []string
}

func (c call) try(t *testing.T, command string) {
	t.Helper()
	out, err := output(t, strings.NewReader(c.input), command, c.args...)
	if (err != nil) != c.fails {
		t.Errorf("%s: %v: %s", c.name, err, out)
	}
	for _, want := range c.want {
		if !strings.Contains(out, want) {
			t.Errorf("%s: no %s in: %s", c.name, want, out)
		}
	}
}

var (
	reader = provider.TokenRequest{User: "alice", Scopes: []string{"orders:read", "payments:read", "ledger:read"}}
	buyer  = provider.TokenRequest{
		User:   "alice",
		Scopes: []string{"orders:read", "orders:write", "payments:read", "payments:write", "ledger:read", "ledger:write"},
	}
	billing = provider.TokenRequest{Client: "billing", Scopes: []string{"ledger:read"}}
)

func TestGRPCurl(t *testing.T) {
	t.Parallel()
	grpcurl, s := tool(t, "grpcurl/go.mod", "grpcurl"), shop(t)
	reads, buys := authorization(t, s, reader), authorization(t, s, buyer)
	args := func(more ...string) []string {
		return append([]string{
			"-plaintext", "-max-time", "20", "-import-path", "../../proto", "-import-path", "../../examples/shop/proto",
			"-proto", "shop/orders/v1/orders.proto",
		}, more...)
	}
	at := strings.TrimPrefix(s.Edge, "http://")
	for _, c := range []call{
		{"a call", args("-H", buys, "-d", quote, at, orders+"PlaceOrder"), "", false, []string{"ORDER_STATE_PAID"}},
		{"a stream in both directions", args("-H", reads, "-d", "@", at, orders+"FillBasket"), basket, false, []string{"amountCents"}},
		{"no credential", args("-d", quote, at, orders+"QuoteOrder"), "", true, []string{"Unauthenticated", "a valid credential is required"}},
		{"a bad credential", args("-H", reads+"x", "-d", quote, at, orders+"QuoteOrder"), "", true, []string{"Unauthenticated"}},
		{"no right", args("-H", reads, "-d", quote, at, orders+"PlaceOrder"), "", true, []string{"PermissionDenied"}},
		{
			"a header that is ours", args("-H", reads, "-H", "x-principal-bin: AAAA", "-H", "x_principal_bin: AAAA", at, orders+"ListOrders"),
			"", false, []string{"ORDER_STATE_PAID"},
		},
		{
			"reflection, which has no route", []string{"-plaintext", "-max-time", "20", "-H", reads, at, "list"},
			"", true, []string{"does not support the reflection API"},
		},
	} {
		c.try(t, grpcurl)
	}
}

func TestBufCurl(t *testing.T) {
	t.Parallel()
	buf, s := tool(t, "../buf/go.mod", "buf"), shop(t)
	reads, bills := authorization(t, s, reader), authorization(t, s, billing)
	args := func(protocol, auth, data, method string, more ...string) []string {
		list := append([]string{"curl", "--schema", "../..", "--protocol", protocol, "-d", data}, more...)
		if auth != "" {
			list = append(list, "-H", auth)
		}
		return append(list, s.Edge+"/"+method)
	}
	h2 := "--http2-prior-knowledge"
	for _, c := range []call{
		{"gRPC", args("grpc", reads, quote, orders+"QuoteOrder"), "", false, []string{"amountCents"}},
		{"gRPC, a stream in both directions", args("grpc", reads, "@-", orders+"FillBasket"), basket, false, []string{"amountCents"}},
		{"gRPC, no credential", args("grpc", "", quote, orders+"QuoteOrder"), "", true, []string{"unauthenticated"}},
		{"gRPC, no right", args("grpc", reads, quote, orders+"PlaceOrder"), "", true, []string{"permission_denied"}},
		{"Connect", args("connect", bills, "{}", ledger+"ExportEntries"), "", false, nil},
		{"Connect over HTTP/2", args("connect", bills, "{}", ledger+"ExportEntries", h2), "", false, nil},
		{"Connect, no credential", args("connect", "", "{}", ledger+"GetBalance"), "", true, []string{"unauthenticated", "a valid credential is required"}},
		{"Connect, not the caller", args("connect", reads, "{}", ledger+"GetBalance"), "", true, []string{"permission_denied"}},
		{"Connect, a stream, not the kind", args("connect", reads, "{}", ledger+"ExportEntries"), "", true, []string{"permission_denied"}},
		{"gRPC-Web", args("grpcweb", bills, "{}", ledger+"ExportEntries"), "", false, nil},
		{"gRPC-Web over HTTP/2", args("grpcweb", bills, "{}", ledger+"ExportEntries", h2), "", false, nil},
		{"gRPC-Web, no credential", args("grpcweb", "", "{}", ledger+"GetBalance"), "", true, []string{"unauthenticated"}},
		{"gRPC-Web, not the kind", args("grpcweb", reads, "{}", ledger+"ExportEntries"), "", true, []string{"permission_denied"}},
	} {
		c.try(t, buf)
	}
}

// A short load of one method, without an error.
func TestGHZ(t *testing.T) {
	t.Parallel()
	buf, ghz, s := tool(t, "../buf/go.mod", "buf"), tool(t, "ghz/go.mod", "ghz"), shop(t)
	protoset := filepath.Join(t.TempDir(), "shop.binpb") // its own parser does not know optional fields
	if out, err := output(t, nil, buf, "build", "../..", "--as-file-descriptor-set", "-o", protoset); err != nil {
		t.Fatal(err, out)
	}
	_, token, _ := strings.Cut(authorization(t, s, reader), ": ")
	metadata, err := json.Marshal(map[string]string{"authorization": token})
	if err != nil {
		t.Fatal(err)
	}
	out, err := output(t, nil, ghz, "--insecure", "--protoset", protoset, "--call", orders+"QuoteOrder", "-d", quote, "-m", string(metadata),
		"-n", "1000", "-c", "20", "--connections", "4", "-t", "20s", "-O", "json", strings.TrimPrefix(s.Edge, "http://"))
	var report struct {
		Count    int
		RPS      float64
		Statuses map[string]int `json:"statusCodeDistribution"`
		Errors   map[string]int `json:"errorDistribution"`
	}
	if err != nil || json.Unmarshal([]byte(out), &report) != nil {
		t.Fatal(err, out)
	}
	if report.Count != 1000 || report.Statuses["OK"] != 1000 || len(report.Errors) != 0 {
		t.Error(out)
	}
	t.Logf("%.0f calls per second", report.RPS)
}
