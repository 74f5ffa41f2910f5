package orders_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/examples/shop/orders"
)

func TestPrice(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		items []orders.Item
		want  int64
		err   error
	}{
		"sum":      {[]orders.Item{{"apple", 3}, {"book", 1}}, 16_50, nil},
		"nothing":  {nil, 0, orders.ErrNoItems},
		"unknown":  {[]orders.Item{{"apple", 1}, {"gold", 1}}, 0, orders.ErrSKU},
		"none of":  {[]orders.Item{{"apple", 0}}, 0, orders.ErrQuantity},
		"too many": {[]orders.Item{{"apple", 101}}, 0, orders.ErrQuantity},
		"most of":  {[]orders.Item{{"bicycle", 100}}, 60_000_00, nil},
	} {
		if got, err := orders.Price(test.items...); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	store := orders.NewStore()
	items := []orders.Item{{"book", 2}}
	first, err := store.Add("alice", items)
	if err != nil {
		t.Fatal(err)
	}
	items[0].Quantity = 99
	if _, err := store.Add("bob", items[:1]); err != nil {
		t.Fatal(err)
	}
	want := orders.Order{ID: first.ID, Customer: "alice", Items: []orders.Item{{"book", 2}}, AmountCents: 30_00, State: orders.Pending}
	if diff := cmp.Diff([]orders.Order{want}, store.List("alice")); diff != "" {
		t.Error(diff)
	}
	want.State = orders.Paid
	if diff := cmp.Diff(want, store.Settle(first.ID, orders.Paid)); diff != "" {
		t.Error(diff)
	}
	if got, ok := store.Get("alice", first.ID); !ok || !cmp.Equal(want, got) {
		t.Errorf("%+v, %t", got, ok)
	}
	for _, customer := range []string{"bob", "", "alic"} {
		if got, ok := store.Get(customer, first.ID); ok {
			t.Errorf("%q sees %+v", customer, got)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	store := orders.NewStore()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	add := func(customer string) orders.Order {
		o, err := store.Add(customer, []orders.Item{{"apple", 1}})
		if err != nil {
			t.Error(err)
		}
		return o
	}
	past := add("alice")
	got := make(chan orders.Order)
	go func() {
		defer close(got)
		for o := range store.Watch(ctx, "alice") {
			got <- o
		}
	}()
	add("bob")
	if o := <-got; o.ID != past.ID || o.State != orders.Pending {
		t.Errorf("past: %+v", o)
	}
	store.Settle(past.ID, orders.Declined)
	if o := <-got; o.ID != past.ID || o.State != orders.Declined {
		t.Errorf("change: %+v", o)
	}
	later := add("alice")
	if o := <-got; o.ID != later.ID {
		t.Errorf("later: %+v", o)
	}
	cancel()
	if o, ok := <-got; ok {
		t.Errorf("after the end: %+v", o)
	}
}
