package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shop is what buf made of an example:
//
//	buf build examples/shop/proto -o shop.binpb --as-file-descriptor-set --exclude-source-info
const shop = "testdata/shop.binpb"

func TestAccess(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, "access", shop, "--check")
	want := `
METHOD           WHO             SCOPES          CALLERS   STREAM   FURTHER
shop.ledger.v1.LedgerService
  AppendEntry    human, service  ledger:write    payments  -        -
  ExportEntries  service         ledger:read     -         server   -
  GetBalance     human, agent    ledger:read     payments  -        -
shop.orders.v1.OrderService
  FillBasket     human, agent    orders:read     -         bidi     -
  GetOrder       human, service  orders:read     -         -        default
  ListOrders     human, service  orders:read     -         -        default
  PlaceOrder     human, agent    orders:write    -         -        -
  QuoteOrder     human, agent    orders:read     -         -        -
  WatchOrders    human, service  orders:read     -         server,  -
                                                           session
shop.payments.v1.PaymentService
  Charge         human, service  payments:write  orders    -        -
  GetQuote       human, agent    payments:read   orders    -        -
`
	if d := cmp.Diff(want, "\n"+stdout); code != 0 || stderr != "" || d != "" {
		t.Errorf("%d %q\n%s", code, stderr, d)
	}

	code, stdout, stderr = run(t, "access", shop, "--as=agent", "--scope=payments:read", "--scope=payments:write", "--caller=orders",
		"--filter=shop.payments.v1", "--width=120")
	want = `
METHOD      AS AGENT       WHO             SCOPES          CALLERS
shop.payments.v1.PaymentService
  Charge    refused: kind  human, service  payments:write  orders
  GetQuote  allowed        human, agent    payments:read   orders
`
	if d := cmp.Diff(want, "\n"+stdout); code != 0 || stderr != "" || d != "" {
		t.Errorf("%d %q\n%s", code, stderr, d)
	}
}

func TestAccessFromStandardInput(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(shop)
	if err != nil {
		t.Fatal(err)
	}
	for format, begins := range map[string]string{"text": "METHOD ", "markdown": "## shop.ledger.v1.LedgerService\n", "json": "{"} {
		cmd := exec.CommandContext(t.Context(), binary, "access", "-", "--output", format)
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil || !bytes.HasPrefix(out, []byte(begins)) || format == "json" && !json.Valid(out) {
			t.Errorf("%s: %v %.100s", format, err, out)
		}
	}
}

func TestAccessHelp(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, "access", "--help")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "--include_imports") {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
	for line := range strings.Lines(stdout) {
		if len(line) > 101 {
			t.Errorf("a long line: %s", line)
		}
	}
}

func TestAccessMistakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"/none", 1, "open /none: no such file or directory"},
		{"main.go", 1, "main.go: is not a descriptor set; make it with buf build -o FILE.binpb, or protoc --include_imports --descriptor_set_out=FILE"},
		{shop + " --filter=shop.order", 1, `no package, service or method of the set has the name "shop.order"`},
		{shop + " --as=human --caller=Edge", 1, "nobody can be as --as says (its presenter is --caller): principal: presenter: is not a service name"},
		{shop + " --scope=x", 2, "access: --scope, --role, --caller, --acr and --delegations describe a caller; add --as (see onbehalf access --help)"},
		{shop + " --as=anonymous --role=x", 2,
			"access: --as=anonymous is a call without a principal; leave out --scope, --role, --caller and --acr (see onbehalf access --help)"},
		{shop + " --as=human --delegations=1", 2, "access: --delegations is for --as=agent (see onbehalf access --help)"},
		{shop + " --as=agent --delegations=-1", 2, "access: --delegations: must be 0 or more (see onbehalf access --help)"},
	} {
		code, stdout, stderr := run(t, append([]string{"access"}, strings.Fields(tt.args)...)...)
		if d := cmp.Diff("onbehalf: "+tt.stderr+"\n", stderr); code != tt.code || stdout != "" || d != "" {
			t.Errorf("%s: exit code %d, want %d, %q\n%s", tt.args, code, tt.code, stdout, d)
		}
	}
}

func TestAccessAsKinds(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--as=anonymous":                                                   "missing",
		"--as=human --scope=orders:write":                                  "",
		"--as=agent --scope=orders:write":                                  "",
		"--as=agent --scope=orders:write --delegations=0":                  "",
		"--as=agent --role=admin --acr=gold --caller=edge --delegations=2": "scope",
		"--as=service --scope=orders:write":                                "kind",
	} {
		command := "access " + shop + " -o json --filter=shop.orders.v1.OrderService/PlaceOrder " + args
		code, stdout, stderr := run(t, strings.Fields(command)...)
		var out struct {
			Methods []struct {
				As struct {
					Reason string `json:"reason"`
				} `json:"as"`
			} `json:"methods"`
		}
		if err := json.Unmarshal([]byte(stdout), &out); err != nil || code != 0 || len(out.Methods) != 1 {
			t.Fatalf("%s: %d %q %q %v", args, code, stdout, stderr, err)
		}
		if got := out.Methods[0].As.Reason; got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}
