// Package ledger keeps the shop's accounts, in memory.
package ledger

import (
	"errors"
	"slices"
	"sync"
)

// The reasons why [Book.Append] refuses an entry.
var (
	ErrOverdrawn     = errors.New("ledger: balance too low")
	ErrReferenceUsed = errors.New("ledger: reference is used already")
)

// Entry is a change of an account's balance.
type Entry struct {
	Account, Reference string
	AmountCents        int64 // negative when the account pays
}

// Book has all entries. It is safe for concurrent use.
type Book struct {
	opening int64

	mu       sync.Mutex
	entries  []Entry
	balances map[string]int64 // without the opening balance
}

// NewBook returns a book in which every account opens with this balance.
func NewBook(openingCents int64) *Book {
	return &Book{opening: openingCents, balances: make(map[string]int64)}
}

// Balance returns the balance of an account in cents.
func (b *Book) Balance(account string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opening + b.balances[account]
}

// Append adds an entry and returns the new balance. A balance never becomes
// negative, and an account has one entry with a reference.
func (b *Book) Append(e Entry) (balance int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, old := range b.entries {
		if old.Account == e.Account && old.Reference == e.Reference {
			return 0, ErrReferenceUsed
		}
	}
	balance = b.opening + b.balances[e.Account] + e.AmountCents
	if balance < 0 {
		return 0, ErrOverdrawn
	}
	b.entries = append(b.entries, e)
	b.balances[e.Account] += e.AmountCents
	return balance, nil
}

// Entries returns all entries, oldest first.
func (b *Book) Entries() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.entries)
}
