package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	ledgerv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1"
	ordersv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/orders/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/stack"
)

// screen is the terminal, with colours if it is one.
type screen struct {
	out                        io.Writer
	bold, dim, red, green, off string
}

func newScreen(f *os.File) *screen {
	s := &screen{out: f}
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" {
		s.bold, s.dim, s.red, s.green, s.off = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
	}
	return s
}

func (s *screen) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format, args...) // a terminal that has gone needs no demo
}

func (s *screen) intro(st *stack.Stack) {
	s.printf("\n%sOnbehalf%s: who is calling, on whose behalf, through whom, with which rights\n\n", s.bold, s.off)
	s.printf("  provider %-28s issues the tokens\n", st.Provider.URL())
	s.printf("  edge     %-28s verifies them once and signs principals\n", st.Edge)
	s.printf("  orders   %-28s grpc-go\n", st.Orders)
	s.printf("  payments %-28s Connect v2\n", st.Payments)
	s.printf("  ledger   %-28s Connect v1\n", st.Ledger)
	s.printf("  catalog  %-28s net/http, in relay mode\n", st.Catalog)
}

// scene shows what happened and reports whether it had to.
func (s *screen) scene(n int, sc scene, answer string, made []decision) bool {
	s.printf("\n%s%2d  %s%s\n    %s%s%s\n", s.bold, n, sc.title, s.off, s.dim, sc.story, s.off)
	if len(made) > 0 {
		s.printf("    who  %s\n", made[0].who)
	}
	shown := made
	if sc.many {
		shown = nil
	}
	for _, d := range shown {
		mark, end := s.green+"✓"+s.off, rights(d.scopes)
		if !d.allowed {
			mark, end = s.red+"✗"+s.off, s.red+"refused: "+d.reason+s.off
		}
		s.printf("    %s %-9s%-20s %-24s %s\n", mark, d.service, d.method, d.via, end)
	}
	expected := strings.HasPrefix(answer, sc.want) && slices.Equal(summary(shown), sc.decisions)
	verdict := s.green + "as expected" + s.off
	if !expected {
		verdict = fmt.Sprintf("%sUNEXPECTED, wanted %q and %q%s", s.red, sc.want, sc.decisions, s.off)
	}
	s.printf("    the caller gets: %s   %s\n", answer, verdict)
	return expected
}

// rights names the scopes if they are few, and else counts them.
func rights(scopes []string) string {
	if len(scopes) > 2 {
		return fmt.Sprintf("%d scopes", len(scopes))
	}
	return strings.Join(scopes, " ")
}

func summary(made []decision) []string {
	var list []string
	for _, d := range made {
		list = append(list, strings.TrimSpace(d.service+" "+d.method+" "+d.reason))
	}
	return list
}

func (s *screen) outro(failed int, audit string) {
	if failed > 0 {
		s.printf("\n%s%d of the calls did not end as expected.%s\n", s.red, failed, s.off)
		return
	}
	records := 0
	if b, err := os.ReadFile(audit); err == nil {
		records = strings.Count(string(b), "\n")
	}
	s.printf("\n%sEvery call ended as expected.%s The edge wrote %d audit records; two calls went past it.\n", s.green, s.off, records)
}

// commands prints what to try while the shop is up.
func (s *screen) commands(st *stack.Stack, dir string) error {
	set, err := descriptors(ordersv1.File_shop_orders_v1_orders_proto, ledgerv1.File_shop_ledger_v1_ledger_proto)
	if err != nil {
		return err
	}
	protoset := filepath.Join(dir, "shop.binpb")
	if err := os.WriteFile(protoset, set, 0o600); err != nil {
		return err
	}
	edge := strings.TrimPrefix(st.Edge, "http://")
	s.printf(`
%sThe shop stays up until you press Ctrl-C.%s In another terminal:

TOKEN=$(curl -sf %s/dev/token -d user=alice -d 'scope=%s' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

curl -si %s/catalog/wishes -H "Authorization: Bearer $TOKEN"

grpcurl -plaintext -protoset %s -H "authorization: Bearer $TOKEN" \
  -d '{"items":[{"sku":"book","quantity":1}]}' %s shop.orders.v1.OrderService/PlaceOrder

buf curl --schema %s --protocol grpc --http2-prior-knowledge -H "authorization: Bearer $TOKEN" \
  -d '{"items":[{"sku":"book","quantity":1}]}' %s/shop.orders.v1.OrderService/QuoteOrder

Add -d act=shopping-agent to the first line to be alice's agent. grpcurl and buf are programs of their own.
The configuration is %s, the audit records are in %s.
`, s.bold, s.off, st.Provider.URL(), strings.Join(allScopes, " "), st.Edge, protoset, edge, protoset, st.Edge, st.Config, st.Audit)
	return nil
}

// descriptors returns the files and all that they import, imports first.
func descriptors(files ...protoreflect.FileDescriptor) ([]byte, error) {
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	for _, f := range files {
		add(f)
	}
	return proto.Marshal(set)
}

// cents writes an amount.
func cents(n int64) string { return fmt.Sprintf("%d.%02d", n/100, n%100) }
