package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// loadBegin has users make calls through the edge, each of which a service
// chosen by chance verifies.
func (s *services) loadBegin(*http.Request) (any, error) {
	ctx, stop := context.WithCancel(context.Background())
	s.load.stop = stop
	for i := range 4 {
		s.load.work.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				err := s.get(ctx, "/each", fmt.Sprintf("loader%d-%d", i, n%100))
				if ctx.Err() != nil {
					return
				}
				s.load.calls.Add(1)
				if err != nil {
					s.load.failed.Add(1)
					fmt.Println(err)
				}
			}
		})
	}
	return struct{}{}, nil
}

func (s *services) loadEnd(*http.Request) (any, error) {
	s.load.stop()
	s.load.work.Wait()
	return map[string]int64{"Calls": s.load.calls.Load(), "Failed": s.load.failed.Load()}, nil
}

// verifyAnywhere is the upstream of the load.
func (s *services) verifyAnywhere(w http.ResponseWriter, r *http.Request) {
	m := s.members[rand.N(len(s.members))]
	call := principal.Call{Procedure: anything, Values: r.Header.Values(principal.HeaderName), Text: true}
	if _, err := m.guard.Admit(r.Context(), call); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
	}
}
