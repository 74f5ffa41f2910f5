package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/tools/bench/measure"
)

// principalFigures are those of the principal itself, without a transport.
func principalFigures(w *world, s setting) ([]figure, error) {
	figures, err := sizes(w)
	if err != nil {
		return nil, err
	}
	for _, m := range modes {
		figures = append(figures, cached(w, m)...)
	}
	for _, m := range modes {
		figures = append(figures, cold(w, s, m))
	}
	for _, links := range []int{1, 3} {
		figures = append(figures, newLastLink(w, s, links))
	}
	for _, m := range modes {
		figures = append(figures, issue(w, m))
	}
	return figures, nil
}

func sizes(w *world) ([]figure, error) {
	var length [2]int
	for i, m := range modes {
		header, err := w.sign(m)
		if err != nil {
			return nil, err
		}
		length[i] = len(header)
	}
	_, passedOn, err := w.travel(1)
	if err != nil {
		return nil, err
	}
	text := func(decoded int) measured {
		return measured{value: float64((decoded*4 + 2) / 3), beside: fmt.Sprintf("%d B decoded", decoded)}
	}
	return []figure{
		{name: "standard principal, relay", bound: 694, unit: characters, measure: counted(text(length[0]))},
		{name: "standard principal, linked", bound: 747, unit: characters, measure: counted(text(length[1]))},
		{name: "a link", bound: 170, unit: bytes, measure: counted(measured{value: float64(len(passedOn) - length[1])})},
	}, nil
}

func counted(m measured) func(measure.Plan) (measured, error) {
	return func(measure.Plan) (measured, error) { return m, nil }
}

// cached verifies a header that is known, as bytes that are not: each call
// brings its own copy.
func cached(w *world, m mode) []figure {
	prepare := func() (raw, ours measure.Work, err error) {
		header, err := w.sign(m)
		if err != nil {
			return raw, ours, err
		}
		b, err := w.lastBlock(header)
		if err != nil {
			return raw, ours, err
		}
		v, err := w.verifier(path[0])
		if err != nil {
			return raw, ours, err
		}
		copies := make([]string, 64)
		for i := range copies {
			copies[i] = strings.Clone(header)
		}
		return rawVerify([]*block{b}), verify(v, copies), nil
	}
	name := "cached verify, " + string(m)
	return []figure{
		{name: name, bound: 0.0025, unit: percent, measure: func(p measure.Plan) (measured, error) {
			raw, ours, err := prepare()
			if err != nil {
				return measured{}, err
			}
			before := w.keys.found.Load()
			r, err := p.Compare(raw, ours)
			if found := w.keys.found.Load() - before; err == nil && found != 1 {
				err = fmt.Errorf("a cached header was verified anew: %d look-ups of keys", found)
			}
			return compared(r), err
		}},
		{name: name + ", allocations", bound: 0, unit: allocations, measure: func(measure.Plan) (measured, error) {
			_, ours, err := prepare()
			if err != nil {
				return measured{}, err
			}
			n, err := measure.Allocations(1000, ours)
			return measured{value: n}, err
		}},
	}
}

// cold verifies headers that are not known.
func cold(w *world, s setting, m mode) figure {
	return figure{name: "cold verify, " + string(m), bound: 1.1, unit: times, measure: func(p measure.Plan) (measured, error) {
		v, err := w.verifier(path[0])
		if err != nil {
			return measured{}, err
		}
		return compareCold(w, p, v, s.pool, 1, func() (string, error) { return w.sign(m) })
	}}
}

// newLastLink verifies headers that differ in their last link only, as they come
// from a service that renews its links.
func newLastLink(w *world, s setting, links int) figure {
	name := fmt.Sprintf("new last link on a known prefix, %d in all", links)
	return figure{name: name, bound: 1.1, unit: times, measure: func(p measure.Plan) (measured, error) {
		from, to := path[links-1], path[links]
		ctx, header, err := w.travel(links)
		if err != nil {
			return measured{}, err
		}
		v, err := w.verifier(to)
		if err != nil {
			return measured{}, err
		}
		if _, err = v.Verify(context.Background(), header); err != nil {
			return measured{}, err
		}
		return compareCold(w, p, v, s.pool, 1+links, func() (string, error) { return w.send(ctx, from, to) })
	}}
}

// compareCold measures v with headers that it does not know: more than it
// keeps, in turn. Each has so many blocks.
func compareCold(w *world, p measure.Plan, v *principal.Verifier, pool, blocks int, next func() (string, error)) (measured, error) {
	headers, raw := make([]string, pool), make([]*block, pool)
	for i := range headers {
		var err error
		if headers[i], err = next(); err != nil {
			return measured{}, err
		}
		if raw[i], err = w.lastBlock(headers[i]); err != nil {
			return measured{}, err
		}
	}
	ours := verify(v, headers)
	verified := 0
	do := ours.Do
	ours.Do = func(n int) error {
		verified += n
		return do(n)
	}
	before := w.keys.found.Load()
	m, err := compareWithAllocations(p, rawVerify(raw), ours)
	if err != nil {
		return measured{}, err
	}
	if found := int(w.keys.found.Load() - before); found != verified*blocks {
		return measured{}, fmt.Errorf("of %d headers some were known: %d look-ups of keys", verified, found)
	}
	return m, nil
}

func rawVerify(blocks []*block) measure.Work {
	return measure.Work{Name: "raw verify", Do: inTurn(blocks, (*block).verify)}
}

func verify(v *principal.Verifier, headers []string) measure.Work {
	ctx := context.Background()
	return measure.Work{Name: "verify", Do: inTurn(headers, func(header string) error {
		_, err := v.Verify(ctx, header)
		return err
	})}
}

// inTurn does something to one item after the other, and again from the start.
func inTurn[T any](items []T, do func(T) error) func(n int) error {
	next := 0
	return func(n int) error {
		for range n {
			if err := do(items[next]); err != nil {
				return err
			}
			if next++; next == len(items) {
				next = 0
			}
		}
		return nil
	}
}

// issue signs the standard principal.
func issue(w *world, m mode) figure {
	return figure{name: "issue, " + string(m), bound: 1.15, unit: times, measure: func(p measure.Plan) (measured, error) {
		header, err := w.sign(m)
		if err != nil {
			return measured{}, err
		}
		b, err := w.lastBlock(header)
		if err != nil {
			return measured{}, err
		}
		raw := measure.Work{Name: "raw sign", Do: func(n int) error {
			for range n {
				b.signature = ed25519.Sign(w.authority, b.message)
			}
			return nil
		}}
		source := standard(m)
		ours := measure.Work{Name: "issue", Do: func(n int) (err error) {
			for range n {
				if header, err = w.signer.Sign(source); err != nil {
					return err
				}
			}
			return nil
		}}
		result, err := compareWithAllocations(p, raw, ours)
		if err != nil {
			return measured{}, err
		}
		if err = b.verify(); err != nil {
			return measured{}, err
		}
		_, err = w.arrive(path[0], header)
		return result, err
	}}
}
