// Package orders takes the shop's orders, in memory.
package orders

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"slices"
	"sync"
)

// State says how far an order is.
type State int32

// The states. The first is an order's at first, the others are final.
const (
	Pending State = iota + 1
	Paid
	Declined
)

// Item is an article and how many of it.
type Item struct {
	SKU      string
	Quantity uint32
}

// Order is an order as it was after one of its changes. Its items are shared:
// they are never modified.
type Order struct {
	ID, Customer string
	Items        []Item
	AmountCents  int64
	State        State
}

// Store has all orders. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	orders  []Order
	changes []Order
	changed chan struct{} // closed at the next change
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{changed: make(chan struct{})} }

// Add stores a pending order at the prices of the catalogue.
func (s *Store) Add(customer string, items []Item) (Order, error) {
	amount, err := Price(items...)
	if err != nil {
		return Order{}, err
	}
	o := Order{ID: rand.Text(), Customer: customer, Items: slices.Clone(items), AmountCents: amount, State: Pending}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = append(s.orders, o)
	s.note(o)
	return o, nil
}

// Settle gives an order its final state, and returns it.
func (s *Store) Settle(id string, state State) Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.orders {
		if s.orders[i].ID == id {
			s.orders[i].State = state
			s.note(s.orders[i])
			return s.orders[i]
		}
	}
	return Order{}
}

func (s *Store) note(o Order) {
	s.changes = append(s.changes, o)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Get returns an order of the customer. It does not tell another's order from
// one that does not exist.
func (s *Store) Get(customer, id string) (Order, bool) {
	for _, o := range s.List(customer) {
		if o.ID == id {
			return o, true
		}
	}
	return Order{}, false
}

// List returns the customer's orders, oldest first.
func (s *Store) List(customer string) []Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ownedBy(customer, s.orders)
}

// Watch yields every change of the customer's orders, those of the past first,
// until ctx ends.
func (s *Store) Watch(ctx context.Context, customer string) iter.Seq[Order] {
	return func(yield func(Order) bool) {
		for seen := 0; ; {
			s.mu.Lock()
			fresh, changed := s.changes[seen:], s.changed
			s.mu.Unlock()
			seen += len(fresh)
			for _, o := range ownedBy(customer, fresh) {
				if !yield(o) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

func ownedBy(customer string, orders []Order) []Order {
	var own []Order
	for _, o := range orders {
		if o.Customer == customer {
			own = append(own, o)
		}
	}
	return own
}

// The reasons why [Price] refuses items.
var (
	ErrNoItems  = errors.New("orders: no items")
	ErrSKU      = errors.New("orders: unknown sku")
	ErrQuantity = errors.New("orders: quantity is not from 1 to 100")
)

var catalogue = map[string]int64{"apple": 50, "book": 15_00, "bicycle": 600_00}

// Price returns what the items cost in cents, without the payment's fee.
func Price(items ...Item) (cents int64, err error) {
	if len(items) == 0 {
		return 0, ErrNoItems
	}
	for _, i := range items {
		price, ok := catalogue[i.SKU]
		if !ok {
			return 0, ErrSKU
		}
		if i.Quantity < 1 || i.Quantity > 100 {
			return 0, ErrQuantity
		}
		cents += price * int64(i.Quantity)
	}
	return cents, nil
}
